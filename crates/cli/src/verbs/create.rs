//! `create -f`

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use orlop_client::{Dynamic, WriteOptions};

use super::selection::namespace_of;
use crate::manifest::Files;
use crate::output::Format;
use crate::print::Printer;
use crate::resources::display;
use crate::session::Session;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    files: Files,
    /// none or server: say what would happen, change nothing
    #[arg(long, default_value = "none", value_parser = ["none", "server"])]
    dry_run: String,
    /// Output format: json, jsonpath=..., name, yaml
    #[arg(short, long)]
    output: Option<String>,
}

pub async fn run(session: &Session, arguments: Arguments) -> Result<ExitCode> {
    if arguments.files.is_empty() {
        bail!("must specify one of -f");
    }
    let format = Format::parse(arguments.output.as_deref())?;
    let options = WriteOptions {
        field_manager: "kubectl-create".into(),
        field_validation: "Strict",
        dry_run: arguments.dry_run == "server",
    };
    let mut code = ExitCode::SUCCESS;
    for object in arguments.files.objects()? {
        let resource = session.catalogue().await?.of_object(&object)?.clone();
        let api = session.api(&resource, &namespace_of(session, &object));
        match (api.create_with(&Dynamic(object), &options).await, &format) {
            (Ok(created), Format::Table { .. }) => {
                Printer.line(format!("{} created", display(&resource, orlop_api::meta::name(&created.0))));
            }
            (Ok(created), other) => other.show(Printer, Some(&resource), vec![created.0], false),
            (Err(error), _) => code = super::fail(&error.into()),
        }
    }
    Ok(code)
}
