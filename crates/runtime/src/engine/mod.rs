//! The side of the node agent: records on disk, a connection to each pod's shim, and the
//! [`ContainerRuntime`](crate::ContainerRuntime) built on them.
//!
//! Nothing here is a parent of a container. What runs, runs under shims; this side can be killed, replaced
//! and started again, reads the records, connects to the shims that answer, and is where it was.

mod adopt;
mod cgroups;
mod containers;
mod exec;
mod external;
mod options;
mod paths;
mod records;
mod reset;
mod sandboxes;
mod service;
mod shim;
mod state;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

pub use options::{RuntimeOptions, ShimCommand};
pub use records::layers_in_use;
pub use reset::reset;

use crate::cgroup::{self, Hierarchy};
use crate::{Result, RuntimeError, RuntimeEvent};
use paths::Paths;
use state::State;

/// Events kept for a receiver that lags; past that it lists again.
const EVENTS_KEPT: usize = 1024;

/// The embedded runtime.
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    paths: Paths,
    shim: ShimCommand,
    cgroups: Arc<dyn Hierarchy>,
    cgroup_root: String,
    /// Runs new containers instead of our own init.
    oci_runtime: Option<PathBuf>,
    events: broadcast::Sender<RuntimeEvent>,
    state: Mutex<State>,
}

impl Runtime {
    /// Opens the records and adopts what still runs.
    pub async fn open(options: RuntimeOptions) -> Result<Arc<Self>> {
        let inner = blocking(move || Inner::open(options)).await?;
        inner.adopt().await?;
        Ok(Arc::new(Self { inner }))
    }
}

impl Inner {
    fn open(options: RuntimeOptions) -> Result<Arc<Self>> {
        let cgroups = cgroup::open(&options.cgroup_root).map_err(|e| io_error("open cgroups", e))?;
        let oci_runtime = options.oci_runtime.as_deref().map(external::find).transpose()?;
        let paths = Paths::new(&options);
        let prepared = paths.prepare();
        prepared
            .and_then(|()| paths::write_atomically(&paths.cgroup_record(), options.cgroup_root.as_bytes()))
            .map_err(|e| io_error("prepare the runtime's directories", e))?;
        Ok(Arc::new(Self {
            paths,
            shim: options.shim,
            cgroups,
            cgroup_root: options.cgroup_root,
            oci_runtime,
            events: broadcast::channel(EVENTS_KEPT).0,
            state: Mutex::new(State::default()),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs file system work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io_error("run blocking work", io::Error::other(error))),
    }
}

fn io_error(doing: impl Into<String>, source: io::Error) -> RuntimeError {
    RuntimeError::Io { doing: doing.into(), source }
}

fn not_found(what: &str, id: &str) -> RuntimeError {
    RuntimeError::NotFound(format!("{what} {id}"))
}
