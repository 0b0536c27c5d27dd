//! The shapes that callers see.

use std::sync::Arc;

use bytes::Bytes;

use crate::Kept;

/// A cluster-wide write counter; 0 is "before anything".
pub type Revision = u64;

/// How far revisions that somebody was told may run ahead of the durable ones. A relaxed write beyond
/// that waits like any other; a start after a crash skips as many. Ten milliseconds of relaxed writes
/// are a few hundred.
pub const UNFLUSHED_REVISIONS: Revision = 4096;

/// Names one object. Ordered by resource, then namespace, then name: list order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kind's `storage_key`: `pods`, `apps/deployments`.
    pub resource: Arc<str>,
    /// Empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl Key {
    /// `/registry/secrets/default/x`: as upstream's keys in etcd begin, and how it names objects in errors.
    pub fn path(&self) -> String {
        let Self { resource, namespace, name } = self;
        match &**namespace {
            "" => format!("/registry/{resource}/{name}"),
            namespace => format!("/registry/{resource}/{namespace}/{name}"),
        }
    }
}

/// JSON of an object with a hole where the resourceVersion digits go
/// (`..."resourceVersion":"<hole>"...`), because only the commit knows the revision.
#[derive(Clone, Debug)]
pub struct Draft {
    pub json: Bytes,
    /// Byte offset at which the decimal revision is inserted.
    pub hole: usize,
}

/// One stored object at one revision. Immutable; shared by readers, watchers and history.
#[derive(Debug)]
pub struct Entry {
    pub key: Key,
    /// Revision of the write that made these bytes.
    pub revision: Revision,
    /// Revision of the creation.
    pub created: Revision,
    /// The object's JSON, resourceVersion filled in: what GET answers.
    pub json: Bytes,
    /// Filled by readers on first need and then shared: other encodings, parsed labels, ...
    /// A few small slots, typed by whoever owns the slot.
    pub memo: Memo,
}

impl Entry {
    /// Why the object cannot be read, if so. It has a key and a revision, and no JSON.
    pub fn unreadable(&self) -> Option<&str> {
        if !self.json.is_empty() {
            return None;
        }
        match self.memo.kept.get() {
            Some(Kept::Unreadable { why, .. }) => Some(why),
            _ => None,
        }
    }
}

/// Write-once slots for what can be derived from an entry's bytes.
#[derive(Debug, Default)]
pub struct Memo {
    /// Protobuf envelope.
    pub protobuf: std::sync::OnceLock<Bytes>,
    /// Anything else, usually the label and field index the server filters by.
    pub index: std::sync::OnceLock<Arc<dyn std::any::Any + Send + Sync>>,
    /// The store's own: how the bytes lie where they are kept.
    pub kept: std::sync::OnceLock<Kept>,
}

/// A durable change, in revision order.
#[derive(Clone, Debug)]
pub struct Event {
    pub revision: Revision,
    /// The object after the change; for a deletion, the last bytes with the deletion's
    /// revision as resourceVersion.
    pub entry: Arc<Entry>,
    /// The object before, `None` for a creation.
    pub previous: Option<Arc<Entry>>,
    pub deleted: bool,
}

/// How long a write may stay only in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledged after the flush.
    Flushed,
    /// Acknowledged at once, flushed with the next group (Leases, Events). A crash may lose the write, but
    /// its revision is never given to another one.
    Relaxed,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("key already exists")]
    Exists,
    #[error("key not found")]
    NotFound,
    /// The precondition's revision is not the newest; carries the newest entry.
    #[error("revision conflict")]
    Conflict(Arc<Entry>),
    /// A write of the resource that took its turn is newer than the writer knew.
    #[error("others were faster")]
    Overtaken,
    /// It must not be kept as it is, and cannot be sealed.
    #[error("{0}")]
    Unsealable(String),
    #[error("revision {requested} is compacted, oldest is {oldest}")]
    Compacted { requested: Revision, oldest: Revision },
    #[error("revision {requested} is in the future, newest is {newest}")]
    Future { requested: Revision, newest: Revision },
    /// Larger than the log takes in one record; etcd refuses at 1.5 MiB by default.
    #[error("object of {size} bytes is too large, limit is {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("store is closed")]
    Closed,
    #[error("writing the log failed: {0}")]
    Io(Arc<std::io::Error>),
}
