//! What the binary itself says: log lines and short messages, both on standard error.
//!
//! Flags are those of upstream's components (`k8s.io/component-base/logs`). Their verbosity is a number; what Orlop
//! logs has three levels where theirs has many, so that [`DEBUG`] and [`TRACE`] say which number shows which.

mod json;
mod vmodule;

use std::io::Write;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use vmodule::Modules;

/// The verbosity from which on Orlop's debug and trace lines are shown: "extended information about changes" and "HTTP
/// requests" of upstream's logging conventions.
const DEBUG: u32 = 4;
const TRACE: u32 = 6;

#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Logs")]
pub struct Arguments {
    /// error, warn, info, debug or trace
    #[arg(long, default_value = "info")]
    log_level: LevelFilter,
    /// Lines for people or for machines
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    logging_format: Format,
    /// Verbosity: from 4 on what debug shows, from 6 on what trace shows
    #[arg(short, value_name = "LEVEL", value_parser = clap::value_parser!(u32).range(..=i64::from(i32::MAX)))]
    verbosity: Option<u32>,
    /// Verbosity of single source files, by name without its ending, also with * and ?; only for text
    #[arg(long, default_value = "", value_name = "PATTERN=LEVEL,...", value_parser = vmodule::parse)]
    vmodule: Modules,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Arguments {
    /// Log lines from now on.
    pub fn start(self) -> Result<()> {
        if self.logging_format == Format::Json && !self.vmodule.is_empty() {
            bail!("vmodule: Forbidden: Only supported for text log format");
        }
        let level = self.verbosity.map_or(self.log_level, |verbosity| self.log_level.max(level_of(verbosity)));
        let most = level.max(self.vmodule.most().map_or(LevelFilter::OFF, level_of));
        let modules = self.vmodule;
        let wanted = FilterFn::new(move |line| {
            let own = line.file().and_then(|file| modules.verbosity(file));
            *line.level() <= own.map_or(level, |verbosity| level.max(level_of(verbosity)))
        });
        let wanted = wanted.with_max_level_hint(most);
        let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
        match self.logging_format {
            Format::Text => tracing_subscriber::registry().with(lines.with_filter(wanted)).init(),
            Format::Json => {
                tracing_subscriber::registry().with(lines.event_format(json::Lines).with_filter(wanted)).init();
            }
        }
        Ok(())
    }
}

fn level_of(verbosity: u32) -> LevelFilter {
    match verbosity {
        TRACE.. => LevelFilter::TRACE,
        DEBUG.. => LevelFilter::DEBUG,
        _ => LevelFilter::INFO,
    }
}

/// The number that a line of this level has upstream.
fn verbosity_of(level: Level) -> u32 {
    match level {
        Level::TRACE => TRACE,
        Level::DEBUG => DEBUG,
        _ => 0,
    }
}

/// One line for the person at the terminal.
pub fn say(text: impl AsRef<str>) {
    // Nobody may be listening any more; there is nothing to do about it.
    let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
}

/// One line of the answer itself.
pub fn answer(text: impl AsRef<str>) {
    if writeln!(std::io::stdout().lock(), "{}", text.as_ref()).is_err() {
        std::process::exit(0);
    }
}
