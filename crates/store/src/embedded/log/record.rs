//! Records: one write each.
//!
//! | bytes | |
//! |---|---|
//! | 1 | kind |
//! | 8 | revision |
//! | 8 | revision of the creation |
//! | 2, 2, 2 | lengths of resource, namespace, name |
//! | 4 | length of the JSON |
//! | | resource, namespace, name, JSON |

use std::sync::Arc;

use crate::{Entry, Key, Revision, Transformer, transform};

const FIXED: usize = 1 + 8 + 8 + 2 + 2 + 2 + 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A creation or an update.
    Put = 1,
    /// A deletion, with the last bytes: watches that outlive a restart need them.
    Delete = 2,
    /// A put from long ago that still counts, repeated to give up the file it was in.
    Copy = 3,
}

/// A record as it lies in a frame's payload.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub kind: Kind,
    pub revision: Revision,
    pub created: Revision,
    pub resource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub json: &'a [u8],
}

/// Bytes of an entry's record.
pub(crate) fn size(entry: &Entry) -> usize {
    let key = &entry.key;
    FIXED + key.resource.len() + key.namespace.len() + key.name.len() + entry.json.len()
}

/// Whether the lengths fit their fields.
pub(crate) fn fits(key: &Key) -> bool {
    [&key.resource, &key.namespace, &key.name].iter().all(|part| u16::try_from(part.len()).is_ok())
}

/// `kept` is the entry's JSON as it is to lie in the log.
pub(crate) fn encode(out: &mut Vec<u8>, kind: Kind, entry: &Entry, kept: &[u8]) {
    let key = &entry.key;
    Record {
        kind,
        revision: entry.revision,
        created: entry.created,
        resource: &key.resource,
        namespace: &key.namespace,
        name: &key.name,
        json: kept,
    }
    .encode(out);
}

impl<'a> Record<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let parts = [self.resource, self.namespace, self.name];
        out.push(self.kind as u8);
        out.extend_from_slice(&self.revision.to_le_bytes());
        out.extend_from_slice(&self.created.to_le_bytes());
        for part in parts {
            out.extend_from_slice(&(part.len() as u16).to_le_bytes());
        }
        out.extend_from_slice(&(self.json.len() as u32).to_le_bytes());
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(self.json);
    }

    /// The first record of `payload`, and what follows it. `None` when it is not one.
    pub fn decode(payload: &'a [u8]) -> Option<(Record<'a>, &'a [u8])> {
        let (fixed, rest) = payload.split_at_checked(FIXED)?;
        let kind = match fixed[0] {
            1 => Kind::Put,
            2 => Kind::Delete,
            3 => Kind::Copy,
            _ => return None,
        };
        let u16_at = |at: usize| usize::from(fixed[at]) | usize::from(fixed[at + 1]) << 8;
        let (resource, rest) = rest.split_at_checked(u16_at(17))?;
        let (namespace, rest) = rest.split_at_checked(u16_at(19))?;
        let (name, rest) = rest.split_at_checked(u16_at(21))?;
        let (json, rest) = rest.split_at_checked(u32_at(fixed, 23) as usize)?;
        let record = Record {
            kind,
            revision: u64_at(fixed, 1),
            created: u64_at(fixed, 9),
            resource: str::from_utf8(resource).ok()?,
            namespace: str::from_utf8(namespace).ok()?,
            name: str::from_utf8(name).ok()?,
            json,
        };
        Some((record, rest))
    }

    pub fn to_entry(&self, key: Key, transformer: Option<&dyn Transformer>) -> Arc<Entry> {
        let (json, kept) = transform::open(transformer, &key, self.json);
        let memo = crate::Memo::default();
        kept.into_iter().for_each(|kept| drop(memo.kept.set(kept)));
        Arc::new(Entry { key, revision: self.revision, created: self.created, json, memo })
    }

    pub fn key(&self) -> Key {
        Key { resource: self.resource.into(), namespace: self.namespace.into(), name: self.name.into() }
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let bytes = &bytes[at..at + 4];
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
