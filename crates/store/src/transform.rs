//! What stands between an object in memory and what is kept of it: encryption at rest.
//!
//! In memory are always the bytes that go on the wire. They are sealed on their way into the log (or to an
//! etcd cluster) and opened when they are read back.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Entry, Key};

/// Seals and opens. Called for every write of every kind: what is not concerned must cost nothing.
pub trait Transformer: fmt::Debug + Send + Sync {
    /// Why a write cannot be sealed now, if so. What was let through here is always sealed, also a moment later.
    /// A deletion repeats what was kept, for watchers that outlive a restart.
    fn can_seal(&self, resource: &str, deletion: bool) -> Result<(), String> {
        let _ = (resource, deletion);
        Ok(())
    }

    /// What to keep of `json`; `None` keeps it as it is. `path` is the object's key: opening demands the same.
    fn seal(&self, resource: &str, path: &str, json: &[u8]) -> Option<Vec<u8>>;

    /// What was kept; the error says why it cannot be read.
    fn open(&self, resource: &str, path: &str, kept: &[u8]) -> Result<Opened, String>;

    /// How objects of `resource` are kept from now on. Grows when that changes; 0: as they are.
    fn generation(&self, resource: &str) -> u64;
}

#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// `None`: what was kept is the object.
    pub json: Option<Vec<u8>>,
    /// Whether it would be kept the same way today.
    pub current: bool,
}

/// How an entry's bytes lie where they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Sealed in this generation of the transformer.
    Generation(u64),
    /// There, but nobody knows how to read them. The entry's JSON is then empty.
    Unreadable {
        why: Arc<str>,
        /// What is kept. Somebody may know how to read it, later.
        sealed: Bytes,
    },
}

/// What every sealed object starts with, as upstream's.
pub const SEALED_PREFIX: &[u8] = b"k8s:enc:";

/// Upstream's words for sealed bytes where none are expected.
pub const UNEXPECTED: &str = "identity transformer tried to read encrypted data";

/// The bytes to keep of an entry, where they differ from its own.
pub(crate) fn seal(transformer: Option<&dyn Transformer>, entry: &Entry) -> Option<Vec<u8>> {
    let transformer = transformer?;
    let resource = &*entry.key.resource;
    let generation = transformer.generation(resource);
    if generation == 0 {
        return None;
    }
    // A second write of the same entry would be kept the same way.
    let _ = entry.memo.kept.set(Kept::Generation(generation));
    transformer.seal(resource, &entry.key.path(), &entry.json)
}

/// An entry's bytes from what is kept of them.
pub(crate) fn open(transformer: Option<&dyn Transformer>, key: &Key, kept: &[u8]) -> (Bytes, Option<Kept>) {
    let generation = transformer.map_or(0, |transformer| transformer.generation(&key.resource));
    let opened = match transformer {
        Some(transformer) if generation > 0 || kept.starts_with(SEALED_PREFIX) => {
            transformer.open(&key.resource, &key.path(), kept)
        }
        _ if kept.starts_with(SEALED_PREFIX) => Err(UNEXPECTED.to_owned()),
        _ => Ok(Opened { json: None, current: true }),
    };
    match opened {
        Ok(Opened { json, current }) => {
            let json = json.map_or_else(|| Bytes::copy_from_slice(kept), Bytes::from);
            (json, (generation > 0 && current).then_some(Kept::Generation(generation)))
        }
        Err(why) => (Bytes::new(), Some(Kept::Unreadable { why: why.into(), sealed: Bytes::copy_from_slice(kept) })),
    }
}
