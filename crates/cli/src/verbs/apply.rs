//! `apply`: server-side apply. Fields that left the manifest since the last apply go; fields that
//! others own are left alone, or taken over with `--force-conflicts`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use orlop_client::{Patch, WriteOptions};
use serde_json::Value;

use super::selection::namespace_of;
use crate::manifest::Files;
use crate::output::Format;
use crate::print::Printer;
use crate::resources::display;
use crate::session::Session;

/// Who kubectl's applies are made by.
const FIELD_MANAGER: &str = "kubectl";

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    files: Files,
    /// Take over fields that others own
    #[arg(long)]
    force_conflicts: bool,
    /// Apply on the server (always done; accepted for kubectl's sake)
    #[arg(long)]
    server_side: bool,
    /// none or server: say what would happen, change nothing
    #[arg(long, default_value = "none", value_parser = ["none", "server"])]
    dry_run: String,
    /// Output format: json, jsonpath=..., name, yaml
    #[arg(short, long)]
    output: Option<String>,
}

pub async fn run(session: &Session, arguments: Arguments) -> Result<ExitCode> {
    let format = Format::parse(arguments.output.as_deref())?;
    let dry_run = arguments.dry_run == "server";
    let mut code = ExitCode::SUCCESS;
    for object in arguments.files.objects()? {
        match apply(session, &object, &arguments, dry_run).await {
            Ok((said, applied)) => match &format {
                Format::Table { .. } => {
                    Printer.line(format!("{said}{}", if dry_run { " (server dry run)" } else { "" }));
                }
                other => other.show(Printer, None, vec![applied], false),
            },
            Err(error) => code = super::fail(&error),
        }
    }
    Ok(code)
}

async fn apply(session: &Session, object: &Value, arguments: &Arguments, dry_run: bool) -> Result<(String, Value)> {
    let resource = session.catalogue().await?.of_object(object)?.clone();
    let name = orlop_api::meta::name(object).to_owned();
    let api = session.api(&resource, &namespace_of(session, object));
    let before = api.get_opt(&name).await?;
    let options = WriteOptions { field_manager: FIELD_MANAGER.into(), field_validation: "Strict", dry_run };
    let patch = Patch::Apply { object: object.clone(), force: arguments.force_conflicts };
    let after = api.patch_with(&name, "", &patch, &options).await?;
    let version = orlop_api::meta::resource_version;
    let outcome = match &before {
        None => "serverside-applied",
        Some(before) if version(&before.0) == version(&after.0) => "unchanged",
        Some(_) => "configured",
    };
    let outcome = if before.is_none() { "created" } else { outcome };
    Ok((format!("{} {outcome}", display(&resource, &name)), after.0))
}
