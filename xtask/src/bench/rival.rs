//! `cargo xtask bench --vs upstream`: Orlop and upstream's own programs on the same machine, in the same run, under
//! the same load by the same client, taking turns. What comes out is ratios: a slow or busy machine slows both.

mod api;
mod control_plane;
mod events;
mod fan_out;
mod figures;
mod fleet;
mod lists;
mod node;
mod scale;
mod scheduler;
mod side;
mod verbs;
mod workload;
mod world;

use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::terminal::{note, say};
use crate::upstream;
use figures::Figures;
pub use scale::Scale;
use side::{Contenders, Parts};

/// What can be measured on its own.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    Requests,
    Audit,
    Watch,
    Lists,
    Updates,
    ControlPlane,
    Scheduler,
    Node,
}

/// The parts that a word names: one, or those of the API together.
pub fn parts(word: &str) -> Option<Vec<Part>> {
    match word {
        "api" => Some(vec![Part::Requests, Part::Audit, Part::Watch, Part::Lists, Part::Updates]),
        one => Part::from_str(one, false).ok().map(|part| vec![part]),
    }
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Audit => "audit",
            Self::Watch => "watch",
            Self::Lists => "lists",
            Self::Updates => "updates",
            Self::ControlPlane => "control-plane",
            Self::Scheduler => "scheduler",
            Self::Node => "node",
        }
    }
}

pub struct Options<'a> {
    pub only: &'a [Part],
    pub scale: Scale,
    pub write: bool,
}

/// A part that fails leaves the others to be measured all the same; then so does the command.
pub async fn measure(orlop: &Path, options: &Options<'_>) -> Result<()> {
    raise_open_files()?;
    let contenders = Contenders::new(orlop).await?;
    let scale = options.scale;
    let mut outcome = Ok(());
    for part in Part::value_variants() {
        if !options.only.is_empty() && !options.only.contains(part) {
            continue;
        }
        let mut figures = Figures::new();
        let measured = match part {
            Part::Requests => api::requests(&contenders, Parts::Api, scale, &mut figures).await,
            Part::Audit => api::requests(&contenders, Parts::Audited, scale, &mut figures).await,
            Part::Watch => api::watches(&contenders, scale, &mut figures).await,
            Part::Lists => api::long_lists(&contenders, scale, &mut figures).await,
            Part::Updates => api::updates(&contenders, scale, &mut figures).await,
            Part::ControlPlane => control_plane::measure(&contenders, scale, &mut figures).await,
            Part::Scheduler => scheduler::measure(&contenders, scale, &mut figures).await,
            Part::Node => node::measure(&contenders, scale, &mut figures).await,
        };
        say(&format!("\n## {}\n\n{figures}", part.name()))?;
        if let Err(error) = measured {
            note(&format!("{}: {error:#}", part.name()))?;
            outcome = Err(error).with_context(|| format!("measuring {}", part.name()));
        } else if options.write {
            figures.write(part.name(), &scale.flag(), &upstream::version()?)?;
        }
    }
    outcome
}

/// Every watcher is an open file.
fn raise_open_files() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("raising the number of open files")
}
