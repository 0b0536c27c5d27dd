//! Where a runtime keeps its things.

use std::ffi::OsString;
use std::path::PathBuf;

/// Program and leading arguments that end up in [`crate::shim::main`].
#[derive(Clone, Debug)]
pub struct ShimCommand {
    pub program: PathBuf,
    pub args: Vec<OsString>,
}

impl Default for ShimCommand {
    /// This very program, even if its file has been replaced since.
    fn default() -> Self {
        Self { program: "/proc/self/exe".into(), args: vec![crate::shim::SUBCOMMAND.into()] }
    }
}

#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// Records and writable layers, `<data-dir>/runtime`; kept over a reboot.
    pub state_dir: PathBuf,
    /// Sockets and mounts, `/run/orlop`; best on a file system that a reboot empties.
    pub run_dir: PathBuf,
    /// Parent of every cgroup made here, `/orlop/<node>`.
    pub cgroup_root: String,
    pub shim: ShimCommand,
    /// An OCI runtime to run new containers in the place of the embedded one: a path, or a name in `PATH`.
    pub oci_runtime: Option<PathBuf>,
}
