//! The process between the node agent and a pod's containers.
//!
//! It holds the pod's namespaces, is the parent of every container, carries their output into log files,
//! and keeps their exit status, whether or not an agent is there to hear of it. One thread, one loop, no
//! timers but while an attached client is slow; asleep unless something happens.

mod attach;
mod console;
mod exec;
mod external;
mod jobs;
mod log;
mod namespaces;
mod output;
mod poller;
pub(crate) mod record;
mod requests;
mod server;
mod start;
mod state;
mod user;

use std::ffi::OsString;

pub use server::main_with;

/// Name of the subcommand that the program must dispatch to [`main`] before anything else starts:
/// no async runtime, no threads, no large heap.
pub const SUBCOMMAND: &str = "shim";

/// Runs a pod's shim and never returns. `args` is what follows the subcommand's name: the pod's
/// identity, for the process list only. Standard input is the listening socket, standard output the
/// first connection.
pub fn main(args: impl Iterator<Item = OsString>) -> ! {
    drop(args);
    main_with()
}
