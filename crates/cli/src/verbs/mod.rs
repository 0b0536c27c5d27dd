//! Every verb: one file each, one line in [`Verb`].

mod apply;
mod create;
mod delete;
mod describe;
mod exec;
mod get;
mod logs;
mod rollout;
mod scale;
mod selection;
mod wait;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::print::Printer;
use crate::session::{Global, Session};

/// Talk to a cluster: the verbs of kubectl that a machine without it needs.
#[derive(Args, Debug)]
pub struct Kubectl {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Apply a configuration to a resource by file name or standard input
    Apply(apply::Arguments),
    /// Create a resource from a file or from standard input
    Create(create::Arguments),
    /// Delete resources by file names, names, or resources and label selector
    Delete(delete::Arguments),
    /// Show details of a resource or of several
    Describe(describe::Arguments),
    /// Execute a command in a container
    Exec(exec::Arguments),
    /// Display one or many resources
    Get(get::Arguments),
    /// Print the logs of a container in a pod
    Logs(logs::Arguments),
    /// Manage the rollout of a resource
    Rollout(rollout::Arguments),
    /// Set a new size for a deployment, replica set or replication controller
    Scale(scale::Arguments),
    /// Wait for a specific condition on one or many resources
    Wait(wait::Arguments),
}

/// Runs the verb; what went wrong goes to standard error, as kubectl words it.
pub fn run(kubectl: Kubectl) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(dispatch(kubectl)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

async fn dispatch(kubectl: Kubectl) -> Result<ExitCode> {
    let session = Session::open(&kubectl.global)?;
    match kubectl.verb {
        Verb::Apply(arguments) => apply::run(&session, arguments).await,
        Verb::Create(arguments) => create::run(&session, arguments).await,
        Verb::Delete(arguments) => delete::run(&session, arguments).await,
        Verb::Describe(arguments) => describe::run(&session, arguments).await,
        Verb::Exec(arguments) => exec::run(&session, arguments).await,
        Verb::Get(arguments) => get::run(&session, arguments).await,
        Verb::Logs(arguments) => logs::run(&session, arguments).await,
        Verb::Rollout(arguments) => rollout::run(&session, arguments).await,
        Verb::Scale(arguments) => scale::run(&session, arguments).await,
        Verb::Wait(arguments) => wait::run(&session, arguments).await,
    }
}

/// `Error from server (NotFound): ...` for what the server said, `error: ...` for the rest.
fn fail(error: &anyhow::Error) -> ExitCode {
    let printer = Printer;
    match error.downcast_ref::<orlop_client::Error>() {
        Some(orlop_client::Error::Status(status)) if !status.reason.is_empty() => {
            printer.note(format!("Error from server ({}): {}", status.reason, status.message));
        }
        Some(orlop_client::Error::Status(status)) => printer.note(format!("Error from server: {}", status.message)),
        Some(other) => printer.note(format!("error: {}", orlop_base::error::chain(other))),
        None => printer.note(format!("error: {error:#}")),
    }
    ExitCode::FAILURE
}
