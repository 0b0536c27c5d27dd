//! `orlop`: Kubernetes in one binary. Arguments become roles; the roles live in the crates below.

mod addons;
mod audit;
mod control_plane;
mod duration;
mod encryption;
mod etcd;
mod identity;
mod image;
mod image_store;
mod logging;
mod node;
mod oidc;
mod paths;
mod registries;
mod reset;
mod security;
mod server;
mod serving;
mod traces;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Kubernetes in one binary.
#[derive(Parser, Debug)]
#[command(name = "orlop", version, about, arg_required_else_help = true)]
struct Orlop {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand, Debug)]
enum Role {
    /// Run a cluster: the control plane, and a node unless told not to
    Server(Box<server::Arguments>),
    /// Join a cluster as a node
    Agent(AgentArguments),
    /// Manage the images of this node
    Image(image::Arguments),
    /// Talk to a cluster
    Kubectl(Box<orlop_cli::Kubectl>),
    /// Remove everything that Orlop made on this machine
    Reset(reset::Arguments),
}

#[derive(clap::Args, Debug)]
struct AgentArguments {
    /// Address of the cluster's server
    #[arg(long)]
    server: Option<String>,
    /// Token that lets this node join
    #[arg(long)]
    token: Option<String>,
}

fn main() -> ExitCode {
    // A shim holds a pod: it must stay small, so it is told apart before anything else happens.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == orlop_runtime::shim::SUBCOMMAND) {
        orlop_runtime::shim::main(words);
    }
    let outcome = match Orlop::parse().role {
        Role::Server(arguments) => server::run(*arguments),
        Role::Agent(arguments) => agent(&arguments),
        Role::Image(arguments) => image::run(arguments),
        Role::Kubectl(kubectl) => return orlop_cli::run(*kubectl),
        Role::Reset(arguments) => reset::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn agent(arguments: &AgentArguments) -> anyhow::Result<()> {
    let server = arguments.server.as_deref().unwrap_or("a cluster");
    let _ = &arguments.token;
    anyhow::bail!(
        "joining {server} as a node is not part of this release: a cluster has the one node of 'orlop server'"
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Orlop;

    #[test]
    fn the_command_line_is_consistent() {
        Orlop::command().debug_assert();
    }
}
