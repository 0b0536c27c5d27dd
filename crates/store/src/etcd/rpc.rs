//! etcd's calls and what they answer (`etcdserverpb/rpc.proto`, `mvccpb/kv.proto`).

use bytes::Bytes;

use super::proto::{Malformed, Message, read};
use crate::Revision;

pub(crate) const RANGE: &str = "/etcdserverpb.KV/Range";
pub(crate) const TXN: &str = "/etcdserverpb.KV/Txn";
pub(crate) const COMPACT: &str = "/etcdserverpb.KV/Compact";
pub(crate) const STATUS: &str = "/etcdserverpb.Maintenance/Status";
pub(crate) const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// `Compare.target`.
pub(crate) const VERSION: u64 = 0;
pub(crate) const MOD: u64 = 2;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyValue {
    pub key: Bytes,
    pub value: Bytes,
    pub created: Revision,
    pub modified: Revision,
    /// Writes since the creation.
    pub version: u64,
}

/// `RangeRequest` of one key.
pub(crate) fn get(key: &[u8]) -> Message {
    Message::default().bytes(1, key)
}

/// `RangeRequest` of at most `limit` keys in `[key, end)` as they were at `revision`.
pub(crate) fn page(key: &[u8], end: &[u8], limit: u64, revision: Revision) -> Message {
    get(key).bytes(2, end).int(3, limit).int(4, revision)
}

/// `RequestOp`.
pub(crate) fn op_get(key: &[u8]) -> Message {
    Message::default().message(1, get(key))
}

pub(crate) fn op_put(key: &[u8], value: &[u8]) -> Message {
    Message::default().message(2, Message::default().bytes(1, key).bytes(2, value))
}

pub(crate) fn op_delete(key: &[u8]) -> Message {
    Message::default().message(3, Message::default().bytes(1, key))
}

/// `Compare`: `target` of `key` equals `value`.
pub(crate) fn equal(key: &[u8], target: u64, value: u64) -> Message {
    // The value's field number follows the target's: version 4, create 5, mod 6.
    Message::default().int(1, 0).int(2, target).bytes(3, key).int(4 + target, value)
}

/// `Compare`: the key was not changed after `revision`, if it is there.
pub(crate) fn unchanged(key: &[u8], revision: Revision) -> Message {
    Message::default().int(1, 2).int(2, MOD).bytes(3, key).int(4 + MOD, revision + 1)
}

/// `TxnRequest`: `then` if all compare as they should, else `otherwise`.
pub(crate) fn txn(
    compares: impl IntoIterator<Item = Message>,
    then: impl IntoIterator<Item = Message>,
    otherwise: Message,
) -> Message {
    let request = compares.into_iter().fold(Message::default(), |request, compare| request.message(1, compare));
    then.into_iter().fold(request, |request, operation| request.message(2, operation)).message(3, otherwise)
}

pub(crate) fn unconditionally(then: Message) -> Message {
    Message::default().message(2, then)
}

pub(crate) fn compact(revision: Revision) -> Message {
    Message::default().int(1, revision)
}

/// `WatchRequest` for everything in `[key, end)` from `start` on, with word of progress when idle, and
/// large answers in pieces.
pub(crate) fn watch(key: &[u8], end: &[u8], start: Revision) -> Message {
    let create = Message::default().bytes(1, key).bytes(2, end).int(3, start).int(4, 1).int(8, 1);
    Message::default().message(1, create)
}

pub(crate) fn watch_progress() -> Message {
    Message::default().message(3, Message::default())
}

/// `RangeResponse`.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Of the whole cluster when the answer was made.
    pub revision: Revision,
    pub kvs: Vec<KeyValue>,
    pub more: bool,
}

impl Found {
    pub fn parse(bytes: &Bytes) -> Result<Found, Malformed> {
        let mut found = Found::default();
        read(bytes, |number, value| {
            match number {
                1 => found.revision = header_revision(&value.bytes()?)?,
                2 => found.kvs.push(key_value(&value.bytes()?)?),
                3 => found.more = value.int()? != 0,
                _ => {}
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// `TxnResponse`.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub revision: Revision,
    pub succeeded: bool,
    /// What the last read among its operations found.
    pub found: Option<KeyValue>,
}

impl Done {
    pub fn parse(bytes: &Bytes) -> Result<Done, Malformed> {
        let mut done = Done::default();
        read(bytes, |number, value| {
            match number {
                1 => done.revision = header_revision(&value.bytes()?)?,
                2 => done.succeeded = value.int()? != 0,
                3 => read(&value.bytes()?, |number, value| {
                    if number == 1 {
                        done.found = Found::parse(&value.bytes()?)?.kvs.pop();
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(done)
    }
}

/// `WatchResponse`.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub revision: Revision,
    pub created: bool,
    pub canceled: bool,
    /// What the watch asked for is forgotten up to here; 0 otherwise.
    pub compacted: Revision,
    pub reason: String,
    /// The rest of these events comes in the next answer.
    pub fragment: bool,
    pub changes: Vec<Changed>,
}

/// Whether a member of the version that `StatusResponse` names tells progress in order with events. Before
/// (etcd #15220), word of progress could overtake events; upstream's limits (feature_support_checker.go).
pub(crate) fn orders_progress(status: &Bytes) -> Result<bool, Malformed> {
    let mut version = Bytes::new();
    read(status, |number, value| {
        if number == 2 {
            version = value.bytes()?;
        }
        Ok(())
    })?;
    let version = std::str::from_utf8(&version).map_err(|_| Malformed)?;
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = [(); 3].map(|()| numbers.next().unwrap_or_default());
    Ok(match version {
        [3, 4, patch] => patch >= 31,
        [3, 5, patch] => patch >= 13,
        version => version >= [3, 6, 0],
    })
}

/// `mvccpb.Event`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    pub deleted: bool,
    /// Of a deletion only key and `modified` are set.
    pub kv: KeyValue,
}

impl Watched {
    pub fn parse(bytes: &Bytes) -> Result<Watched, Malformed> {
        let mut watched = Watched::default();
        read(bytes, |number, value| {
            match number {
                1 => watched.revision = header_revision(&value.bytes()?)?,
                3 => watched.created = value.int()? != 0,
                4 => watched.canceled = value.int()? != 0,
                5 => watched.compacted = value.int()?,
                6 => watched.reason = String::from_utf8_lossy(&value.bytes()?).into_owned(),
                7 => watched.fragment = value.int()? != 0,
                11 => watched.changes.push(changed(&value.bytes()?)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(watched)
    }
}

fn changed(bytes: &Bytes) -> Result<Changed, Malformed> {
    let mut changed = Changed::default();
    read(bytes, |number, value| {
        match number {
            1 => changed.deleted = value.int()? != 0,
            2 => changed.kv = key_value(&value.bytes()?)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(changed)
}

fn key_value(bytes: &Bytes) -> Result<KeyValue, Malformed> {
    let mut kv = KeyValue::default();
    read(bytes, |number, value| {
        match number {
            1 => kv.key = value.bytes()?,
            2 => kv.created = value.int()?,
            3 => kv.modified = value.int()?,
            4 => kv.version = value.int()?,
            5 => kv.value = value.bytes()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(kv)
}

/// `ResponseHeader`.
fn header_revision(bytes: &Bytes) -> Result<Revision, Malformed> {
    let mut revision = 0;
    read(bytes, |number, value| {
        if number == 3 {
            revision = value.int()?;
        }
        Ok(())
    })?;
    Ok(revision)
}

/// The end of the range of all keys that start with `prefix`.
pub(crate) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // "From the key on".
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_in_order_since() {
        for (version, want) in
            [("3.4.23", false), ("3.4.31", true), ("3.5.12", false), ("3.5.30", true), ("3.6.0-rc.1", true)]
        {
            let status = Message::default().message(1, Message::default().int(3, 7)).bytes(2, version.as_bytes());
            let status = Bytes::copy_from_slice(status.as_bytes());
            assert_eq!(orders_progress(&status), Ok(want), "{version}");
        }
    }

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(end_of(b"/a/"), b"/a0");
        assert_eq!(end_of(&[b'a', 0xff]), b"b");
        assert_eq!(end_of(&[0xff]), [0]);
    }
}
