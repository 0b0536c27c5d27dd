//! The process between the node agent and a pod's containers.

use std::ffi::OsString;

/// Name of the subcommand that the program must dispatch to [`main`] before anything else starts:
/// no async runtime, no threads, no large heap.
pub const SUBCOMMAND: &str = "shim";

/// Runs a pod's shim and never returns. `args` is what follows the subcommand's name.
pub fn main(args: impl Iterator<Item = OsString>) -> ! {
    drop(args);
    std::process::exit(1)
}
