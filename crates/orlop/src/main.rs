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

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// A create costs a quarter to two fifths less CPU with it than with glibc's. Without huge pages: a shim would take one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    Image(Box<image::Arguments>),
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
    let matches = Orlop::command().get_matches();
    let role = Orlop::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).role;
    let outcome = match role {
        Role::Server(mut arguments) => {
            arguments.flags = flags(&Orlop::command(), &matches);
            server::run(*arguments)
        }
        Role::Agent(arguments) => agent(&arguments),
        Role::Image(arguments) => image::run(*arguments),
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

/// The flags of the role that was asked for, with their values.
fn flags(command: &Command, matches: &ArgMatches) -> BTreeMap<String, String> {
    let chosen = matches.subcommand().and_then(|(name, given)| Some((command.find_subcommand(name)?, given)));
    let Some((role, given)) = chosen else { return BTreeMap::new() };
    let value = |argument: &clap::Arg| {
        let values = given.try_get_raw(argument.get_id().as_str()).ok().flatten().unwrap_or_default();
        values.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",")
    };
    let named = role.get_arguments().filter_map(|argument| Some((argument.get_long()?, value(argument))));
    named.map(|(name, value)| (name.to_owned(), value)).collect()
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
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Orlop::command().debug_assert();
    }

    #[test]
    fn flags_are_told_with_their_defaults() {
        let line = ["orlop", "server", "--disable-node", "--tls-san", "a", "--tls-san", "b", "--secure-port=7443"];
        let flags = flags(&Orlop::command(), &Orlop::command().get_matches_from(line));
        let told = |name: &str| flags.get(name).map(String::as_str);
        assert_eq!(told("disable-node"), Some("true"));
        assert_eq!(told("disable-scheduler"), Some("false"));
        assert_eq!(told("tls-san"), Some("a,b"));
        assert_eq!(told("secure-port"), Some("7443"));
        assert_eq!(told("bind-address"), Some("0.0.0.0"));
        assert_eq!(told("node-name"), Some(""));
    }
}
