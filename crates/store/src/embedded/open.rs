//! From a configuration to what is there.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use super::log::{Log, Opened};
use crate::backend::{Loaded, OpenError};
use crate::config::Place;
use crate::disk::{Disk, RealDisk};
use crate::{Config, Limits, Revision, State, Torn, Transformer, UNFLUSHED_REVISIONS};

/// An empty store is at revision 1, as a new etcd is: lists of an empty cluster need a resourceVersion
/// other than 0, which means "any".
const FIRST_REVISION: Revision = 1;

/// How the committer runs.
pub(crate) enum Host {
    /// On a thread of its own, because the disk blocks.
    Thread,
    /// As a task among others.
    Task,
}

pub(crate) struct Start {
    pub loaded: Loaded,
    /// `None` for a store that is only in memory.
    pub log: Option<Log>,
    pub host: Host,
}

pub(crate) async fn open(config: &Config) -> Result<Start, OpenError> {
    let limits = config.limits.clone();
    let sealer = config.transformer.clone();
    let (opened, host) = match config.place.clone() {
        Place::Memory => {
            let loaded = Loaded { revision: FIRST_REVISION, state: State::default(), events: vec![], torn: None };
            return Ok(Start { loaded, log: None, host: Host::Task });
        }
        Place::Disk(disk) if !disk.blocks() => (open_log(disk, &limits, sealer)?, Host::Task),
        Place::Disk(disk) => (blocking(limits, sealer, move || Ok(disk)).await?, Host::Thread),
        Place::Directory(path) => (blocking(limits, sealer, move || open_directory(&path)).await?, Host::Thread),
    };
    let Opened { log, state, revision, sealed, events, torn } = opened;
    if let Some(Torn { file, offset, bytes }) = &torn {
        warn!(file, offset, bytes, "dropped a write that a crash cut off; nobody was told that it succeeded");
    }
    let revision = match revision {
        None => FIRST_REVISION,
        Some(revision) if sealed => revision,
        // Whoever was told of a write that is lost must never find another one at its revision.
        Some(revision) => revision + UNFLUSHED_REVISIONS,
    };
    let loaded = Loaded { revision, state, events, torn };
    Ok(Start { loaded, log: Some(log), host })
}

async fn blocking(
    limits: Limits,
    sealer: Option<Arc<dyn Transformer>>,
    disk: impl FnOnce() -> Result<Arc<dyn Disk>, OpenError> + Send + 'static,
) -> Result<Opened, OpenError> {
    let opening = tokio::task::spawn_blocking(move || open_log(disk()?, &limits, sealer));
    opening.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn open_directory(path: &Path) -> Result<Arc<dyn Disk>, OpenError> {
    match RealDisk::open(path) {
        Ok(disk) => Ok(Arc::new(disk)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(OpenError::InUse(path.to_owned())),
        Err(source) => Err(OpenError::Io { attempt: "open", path: path.display().to_string(), source }),
    }
}

fn open_log(disk: Arc<dyn Disk>, limits: &Limits, sealer: Option<Arc<dyn Transformer>>) -> Result<Opened, OpenError> {
    Log::open(disk, limits.segment_bytes, &limits.history, sealer)
}
