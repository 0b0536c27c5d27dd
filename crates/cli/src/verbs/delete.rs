//! `delete`

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use orlop_client::{DeleteOptions, Propagation};

use super::selection::{Found, Selectors, find};
use super::wait::gone;
use crate::manifest::Files;
use crate::print::Printer;
use crate::session::{Session, is_not_found};

#[derive(Args, Debug)]
pub struct Arguments {
    /// TYPE NAME... or TYPE/NAME...
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
    /// Everything of the type
    #[arg(long)]
    all: bool,
    /// background, foreground or orphan: what becomes of dependents
    #[arg(long, default_value = "background", value_parser = ["background", "foreground", "orphan"])]
    cascade: String,
    /// Seconds given to stop; 0 with --force
    #[arg(long)]
    grace_period: Option<i64>,
    /// Do not wait for the node's confirmation
    #[arg(long)]
    force: bool,
    /// Succeed when an object does not exist
    #[arg(long)]
    ignore_not_found: bool,
    /// Return only when the objects are gone
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    wait: bool,
}

pub async fn run(session: &Session, arguments: Arguments) -> Result<ExitCode> {
    let found = match find(session, &arguments.words, &arguments.files, &arguments.selectors, arguments.all).await {
        Err(error) if arguments.ignore_not_found && is_not_found(&error) => Vec::new(),
        found => found?,
    };
    if arguments.force && arguments.grace_period.is_some_and(|s| s > 0) {
        bail!("--force and --grace-period greater than 0 cannot be specified together");
    }
    if found.is_empty() && !arguments.ignore_not_found {
        Printer.note("No resources found");
    }
    let grace = arguments.grace_period.or(arguments.force.then_some(0));
    let propagation = match arguments.cascade.as_str() {
        "foreground" => Propagation::Foreground,
        "orphan" => Propagation::Orphan,
        _ => Propagation::Background,
    };
    for object in &found {
        let options =
            DeleteOptions { grace_period_seconds: grace, propagation: Some(propagation), ..DeleteOptions::default() };
        object.api(session).delete(object.name(), &options).await?;
        let how = if arguments.force { "force deleted" } else { "deleted" };
        let place = if object.target.resource.namespaced {
            format!(" from {} namespace", place(session, object))
        } else {
            String::new()
        };
        Printer.line(format!("{} \"{}\" {how}{place}", kind(object), object.name()));
    }
    if arguments.wait {
        for object in &found {
            gone(session, object).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn kind(found: &Found) -> String {
    let display = found.display();
    display.split_once('/').map_or(display.clone(), |(kind, _)| kind.to_owned())
}

fn place<'a>(session: &'a Session, found: &'a Found) -> &'a str {
    if found.namespace.is_empty() { &session.namespace } else { &found.namespace }
}
