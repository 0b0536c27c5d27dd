//! What makes writes durable and orders them. One implementation is embedded; another can be an
//! etcd cluster. [`crate::contract`] says in tests what every one must do.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::etcd::EtcdError;
use crate::view::View;
use crate::{Draft, Durability, Entry, Event, Key, Revision, State, StoreError};

/// Decides and keeps writes. In order: `load` once, `follow` once, then any number of the others.
///
/// * Revisions grow by one per write, over restarts too; the first write gets a small positive one. Some
///   are skipped after a crash, and where others write to the same cluster: no revision that anybody was
///   told is ever given out again, also when its relaxed write was lost.
/// * A successful `write` has been published to the feed before it answers, unless it was relaxed.
/// * Publications come in revision order, without gap or repetition, and only once durable.
pub trait Backend: Send + Sync {
    /// Everything at one revision.
    fn load(&self) -> BoxFuture<'_, Result<Loaded, OpenError>>;

    /// From here on every change after the loaded revision is published to `feed`.
    fn follow(&self, feed: Feed);

    /// Compares and writes at once. The answer is the entry as written; a conflict carries the newest.
    ///
    /// Dropping the future does not undo the write.
    fn write(&self, change: Change) -> BoxFuture<'_, Result<Arc<Entry>, StoreError>>;

    /// The newest entry known, flushed or not. A guess to decide against: `write` compares again.
    fn newest(&self, key: &Key) -> Option<Arc<Entry>>;

    /// A revision which covers every write of `resource` that was acknowledged before the call. Sees
    /// to it that this revision gets published soon.
    fn read_fence(&self, resource: &str) -> BoxFuture<'_, Result<Revision, StoreError>>;

    /// Until `revision` is published, however long that takes. Sees to it that this is soon, if there is or
    /// will be such a revision.
    fn reach(&self, revision: Revision) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The last revision that anybody may have been told: it gets published, or the backend fails.
    fn promised(&self) -> Revision;

    /// Whether other processes write, too.
    fn is_shared(&self) -> bool {
        false
    }

    /// Until `newest` shows every write that was acknowledged before the call, also by other processes.
    fn catch_up(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn stats(&self) -> BackendStats;

    /// Refuses new writes, finishes those under way, lets go of what it holds.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// What a backend starts from.
#[derive(Debug)]
pub struct Loaded {
    pub revision: Revision,
    pub state: State,
    /// The last changes up to `revision`, in order, each with its `previous`; may be empty.
    pub events: Vec<Event>,
    /// What was left of a write that a crash cut off: never acknowledged, and dropped now.
    pub torn: Option<Torn>,
}

/// An incomplete write at the log's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    pub file: String,
    pub offset: u64,
    /// How far its written bytes reach.
    pub bytes: u64,
}

/// One compare-and-write.
#[derive(Clone, Debug)]
pub struct Change {
    pub key: Key,
    pub action: Action,
    pub durability: Durability,
    /// Only if no other write of the key's resource under such a condition is newer than this.
    pub unless_newer: Option<Revision>,
}

#[derive(Clone, Debug)]
pub enum Action {
    /// Only if there is no such key.
    Create(Draft),
    /// Only if the newest entry is at `expected`.
    Update { expected: Revision, draft: Draft },
    /// Only if the newest entry is at `expected`; `last` is what watchers get to see. (Those of an etcd
    /// cluster see the newest entry, which is the same unless a caller made `last` differ.)
    Delete { expected: Revision, last: Draft },
}

/// Changes that are durable now, and the state that they lead to.
#[derive(Debug)]
pub struct Published {
    /// Of the last event.
    pub revision: Revision,
    pub state: State,
    /// In revision order.
    pub events: Vec<Event>,
    /// Whether these are all. Else they only lead from the last state to this one, and the states in
    /// between cannot be read.
    pub complete: bool,
}

/// A backend's way to tell what is durable.
#[derive(Clone)]
pub struct Feed {
    pub(crate) view: Arc<View>,
}

impl Feed {
    pub fn publish(&self, published: Published) {
        self.view.publish(published);
    }

    /// Nothing will follow: watchers end once they have read what there is.
    pub fn close(&self) {
        self.view.close();
    }

    /// Nothing will be published any more, though reads go on: whoever waits for a revision gets `failure`.
    pub fn fail(&self, failure: Arc<io::Error>) {
        self.view.fail(failure);
    }

    /// Last revision published.
    pub fn revision(&self) -> Revision {
        self.view.revision()
    }

    /// State at that revision.
    pub fn state(&self) -> State {
        self.view.snapshot().state().clone()
    }
}

/// Sizes and counts of a backend since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendStats {
    /// Writes made durable.
    pub writes: u64,
    /// Flushes that made them so.
    pub flushes: u64,
    /// Bytes of the log's files that are in use.
    pub log_bytes: u64,
    /// Bytes of them that a restart needs.
    pub live_bytes: u64,
    pub log_segments: u64,
    /// Bytes copied forward to give back log space.
    pub copied_bytes: u64,
    /// Why the backend takes no more writes.
    pub failure: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{dir} is in use by another process", dir = .0.display())]
    InUse(PathBuf),
    #[error("cannot {attempt} {path}")]
    Io { attempt: &'static str, path: String, source: io::Error },
    /// Something that had been flushed reads back differently. Nothing was changed.
    #[error("log file {file} is corrupt at offset {offset}: {what}")]
    Corrupt { file: String, offset: u64, what: String },
    #[error("reading from etcd at {servers}")]
    Etcd { servers: String, source: EtcdError },
    #[error("etcd servers: {0}")]
    Servers(String),
}
