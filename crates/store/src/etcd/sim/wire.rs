//! etcd's calls from the member's side: `super::rpc` the other way round.

use bytes::Bytes;

use super::super::proto::{Malformed, Message, read};
use super::super::rpc::{Changed, KeyValue};
use super::mvcc::Page;
use crate::Revision;

/// What etcd says when it does not do as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Compacted,
    Future,
    NoLeader,
    Malformed,
}

impl Refusal {
    /// gRPC's code, and etcd's words.
    pub fn status(self) -> (u32, &'static str) {
        match self {
            Refusal::Compacted => (11, "etcdserver: mvcc: required revision has been compacted"),
            Refusal::Future => (11, "etcdserver: mvcc: required revision is a future revision"),
            Refusal::NoLeader => (14, "etcdserver: no leader"),
            Refusal::Malformed => (13, "grpc: error unmarshalling request"),
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Refusal {
        Refusal::Malformed
    }
}

#[derive(Debug, Default)]
pub(super) struct Range {
    pub key: Bytes,
    pub end: Bytes,
    pub limit: u64,
    pub revision: Revision,
}

impl Range {
    pub fn parse(bytes: &Bytes) -> Result<Range, Malformed> {
        let mut range = Range::default();
        read(bytes, |number, value| {
            match number {
                1 => range.key = value.bytes()?,
                2 => range.end = value.bytes()?,
                3 => range.limit = value.int()?,
                4 => range.revision = value.int()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(range)
    }

    pub fn holds(&self, key: &Bytes) -> bool {
        match &*self.end {
            b"" => *key == self.key,
            // From the key on.
            [0] => *key >= self.key,
            end => *key >= self.key && **key < *end,
        }
    }
}

pub(super) enum Operation {
    Get(Range),
    Put { key: Bytes, value: Bytes },
    Delete { key: Bytes },
}

impl Operation {
    fn parse(bytes: &Bytes) -> Result<Operation, Malformed> {
        let mut operation = None;
        read(bytes, |number, value| {
            let bytes = value.bytes()?;
            let [key, value] = first_two(&bytes)?;
            operation = Some(match number {
                1 => Operation::Get(Range::parse(&bytes)?),
                2 => Operation::Put { key, value },
                3 => Operation::Delete { key },
                _ => return Err(Malformed),
            });
            Ok(())
        })?;
        operation.ok_or(Malformed)
    }
}

/// The first two fields, where both are bytes.
fn first_two(bytes: &Bytes) -> Result<[Bytes; 2], Malformed> {
    let mut fields = [Bytes::new(), Bytes::new()];
    read(bytes, |number, value| {
        if let Some(field) = fields.get_mut(number as usize - 1) {
            *field = value.bytes()?;
        }
        Ok(())
    })?;
    Ok(fields)
}

/// Less or equal, of version or of revision: what the store asks.
#[derive(Debug, Default)]
pub(super) struct Compare {
    pub less: bool,
    pub of_version: bool,
    pub key: Bytes,
    pub value: u64,
}

impl Compare {
    fn parse(bytes: &Bytes) -> Result<Compare, Malformed> {
        let mut compare = Compare { of_version: true, ..Compare::default() };
        read(bytes, |number, value| {
            match number {
                1 => compare.less = value.int()? == 2,
                2 => compare.of_version = value.int()? == 0,
                3 => compare.key = value.bytes()?,
                4 | 6 => compare.value = value.int()?,
                _ => return Err(Malformed),
            }
            Ok(())
        })?;
        Ok(compare)
    }
}

#[derive(Default)]
pub(super) struct Txn {
    pub compares: Vec<Compare>,
    pub then: Vec<Operation>,
    pub otherwise: Vec<Operation>,
}

impl Txn {
    pub fn parse(bytes: &Bytes) -> Result<Txn, Malformed> {
        let mut txn = Txn::default();
        read(bytes, |number, value| {
            let bytes = value.bytes()?;
            match number {
                1 => txn.compares.push(Compare::parse(&bytes)?),
                2 => txn.then.push(Operation::parse(&bytes)?),
                3 => txn.otherwise.push(Operation::parse(&bytes)?),
                _ => return Err(Malformed),
            }
            Ok(())
        })?;
        Ok(txn)
    }
}

/// `CompactionRequest`.
pub(super) fn compaction(bytes: &Bytes) -> Result<Revision, Malformed> {
    let mut revision = 0;
    read(bytes, |number, value| {
        if number == 1 {
            revision = value.int()?;
        }
        Ok(())
    })?;
    Ok(revision)
}

/// `WatchRequest`.
pub(super) enum Watching {
    Create { range: Range, start: Revision },
    Progress,
}

impl Watching {
    pub fn parse(bytes: &Bytes) -> Result<Watching, Malformed> {
        let mut watching = None;
        read(bytes, |number, value| {
            let bytes = value.bytes()?;
            watching = Some(match number {
                1 => {
                    // `WatchCreateRequest` has the start where `RangeRequest` has the limit.
                    let Range { key, end, limit: start, .. } = Range::parse(&bytes)?;
                    Watching::Create { range: Range { key, end, ..Range::default() }, start }
                }
                3 => Watching::Progress,
                _ => return Err(Malformed),
            });
            Ok(())
        })?;
        watching.ok_or(Malformed)
    }
}

fn header(revision: Revision) -> Message {
    Message::default().int(3, revision)
}

fn key_value(kv: &KeyValue) -> Message {
    let message = Message::default().bytes(1, &kv.key).int(2, kv.created).int(3, kv.modified);
    message.int(4, kv.version).bytes(5, &kv.value)
}

pub(super) fn page(revision: Revision, page: &Page) -> Message {
    let message = Message::default().message(1, header(revision));
    let message = page.kvs.iter().fold(message, |message, kv| message.message(2, key_value(kv)));
    message.int(3, page.more.into())
}

pub(super) fn done(revision: Revision, succeeded: bool, found: Option<&Page>) -> Message {
    let message = Message::default().message(1, header(revision)).int(2, succeeded.into());
    match found {
        Some(found) => message.message(3, Message::default().message(1, page(revision, found))),
        None => message,
    }
}

pub(super) fn compacted(revision: Revision) -> Message {
    Message::default().message(1, header(revision))
}

pub(super) fn status(revision: Revision) -> Message {
    Message::default().message(1, header(revision)).bytes(2, b"3.6.0")
}

/// `WatchResponse` to a creation.
pub(super) fn created(revision: Revision) -> Message {
    Message::default().message(1, header(revision)).int(3, 1)
}

/// What was asked for is forgotten up to here.
pub(super) fn canceled(revision: Revision, compacted: Revision) -> Message {
    Message::default().message(1, header(revision)).int(4, 1).int(5, compacted)
}

pub(super) fn changes(revision: Revision, changes: &[Changed]) -> Message {
    let message = Message::default().message(1, header(revision));
    changes.iter().fold(message, |message, changed| {
        let event = Message::default().int(1, changed.deleted.into()).message(2, key_value(&changed.kv));
        message.message(11, event)
    })
}
