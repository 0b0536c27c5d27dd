//! `scale`

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use orlop_client::{Patch, WriteOptions};
use serde_json::json;

use super::selection::{Selectors, find};
use crate::manifest::Files;
use crate::print::Printer;
use crate::session::Session;

#[derive(Args, Debug)]
pub struct Arguments {
    /// TYPE NAME or TYPE/NAME
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
    /// The new desired number of replicas
    #[arg(long)]
    replicas: u32,
    /// Only if the size is this now
    #[arg(long)]
    current_replicas: Option<i64>,
}

pub async fn run(session: &Session, arguments: Arguments) -> Result<ExitCode> {
    let found = find(session, &arguments.words, &arguments.files, &arguments.selectors, false).await?;
    if found.is_empty() {
        bail!("no objects passed to scale");
    }
    for object in found {
        let current = object.object["spec"]["replicas"].as_i64().unwrap_or(0);
        if let Some(expected) = arguments.current_replicas.filter(|expected| *expected != current) {
            bail!("Expected replicas to be {expected}, was {current}");
        }
        let patch = Patch::Merge(json!({ "spec": { "replicas": arguments.replicas } }));
        object.api(session).patch_with(object.name(), "scale", &patch, &WriteOptions::default()).await?;
        Printer.line(format!("{} scaled", object.display()));
    }
    Ok(ExitCode::SUCCESS)
}
