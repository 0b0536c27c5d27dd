//! Reading the log back: every file, every frame, every record, in order.

use std::collections::VecDeque;
use std::io;

use super::frame::{Found, Header, frame_at};
use super::record::{Kind, Record};
use super::tail::{Tail, judge};
use super::{Segment, segment_name, segment_number};
use crate::backend::{OpenError, Torn};
use crate::disk::Disk;
use crate::history::held_bytes;
use crate::{Entry, Event, HistoryLimits, Key, Revision, State, Transformer, UNFLUSHED_REVISIONS};

/// What the files say.
pub(crate) struct Recovered {
    pub state: State,
    /// After the last frame; `None` for a log without any.
    pub revision: Option<Revision>,
    /// Whether the last frame is one without records, or there is none at all.
    pub sealed: bool,
    /// The last changes, in order.
    pub events: VecDeque<Event>,
    pub segments: VecDeque<Segment>,
    pub next_sequence: u64,
    pub torn: Option<Torn>,
}

pub(crate) fn recover(
    disk: &dyn Disk,
    history: &HistoryLimits,
    transformer: Option<&dyn Transformer>,
) -> Result<Recovered, OpenError> {
    let numbers = segment_numbers(disk)?;
    let mut reader = Reader::new(history.clone(), transformer);
    let mut bytes = Vec::new();
    for (index, &number) in numbers.iter().enumerate() {
        let name = segment_name(number);
        if index > 0 && number != numbers[index - 1] + 1 {
            return Err(missing(number - 1, number));
        }
        read(disk, &name, &mut bytes).map_err(|source| OpenError::Io {
            attempt: "read",
            path: name.clone(),
            source,
        })?;
        let last = index + 1 == numbers.len();
        let used = reader.segment(&name, &bytes, last).map_err(|(offset, what)| OpenError::Corrupt {
            file: name,
            offset: offset as u64,
            what,
        })?;
        reader.out.segments.push_back(Segment { number, used: used as u64 });
    }
    match reader.out.segments.front() {
        Some(first) if reader.started && reader.oldest < first.number => Err(missing(first.number - 1, first.number)),
        _ => Ok(reader.out),
    }
}

fn segment_numbers(disk: &dyn Disk) -> Result<Vec<u64>, OpenError> {
    let names =
        disk.list().map_err(|source| OpenError::Io { attempt: "list", path: "the log's files".into(), source })?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn missing(number: u64, next: u64) -> OpenError {
    let what = format!("the file before it is missing: {}", segment_name(number));
    OpenError::Corrupt { file: segment_name(next), offset: 0, what }
}

/// The whole file into `bytes`.
fn read(disk: &dyn Disk, name: &str, bytes: &mut Vec<u8>) -> io::Result<()> {
    let file = disk.open(name)?;
    bytes.resize(file.size()? as usize, 0);
    let length = file.read_at(0, bytes)?;
    bytes.truncate(length);
    Ok(())
}

/// Offset and description of what is wrong.
type Wrong = (usize, String);

struct Reader<'a> {
    out: Recovered,
    transformer: Option<&'a dyn Transformer>,
    limits: HistoryLimits,
    history_bytes: usize,
    started: bool,
    /// Whether the next write may be the first after a crash.
    may_skip: bool,
    /// The oldest file that is needed, according to the last frame.
    oldest: u64,
}

impl<'a> Reader<'a> {
    fn new(limits: HistoryLimits, transformer: Option<&'a dyn Transformer>) -> Reader<'a> {
        let out = Recovered {
            state: State::default(),
            revision: None,
            sealed: true,
            events: VecDeque::new(),
            segments: VecDeque::new(),
            next_sequence: 1,
            torn: None,
        };
        Reader { out, transformer, limits, history_bytes: 0, started: false, may_skip: false, oldest: 0 }
    }

    /// Reads one file; answers how far it is used.
    fn segment(&mut self, name: &str, bytes: &[u8], last: bool) -> Result<usize, Wrong> {
        let mut offset = 0;
        while let Found::Frame { header, oldest, records } = frame_at(bytes, offset) {
            self.frame(&header, records).map_err(|what| (offset, what))?;
            self.oldest = oldest;
            offset += header.frame_size();
        }
        let tail = judge(bytes, offset, self.out.next_sequence);
        match tail {
            Tail::Clean if offset == 0 && !last => {
                return Err((0, "nothing in it, but it is not the last file".into()));
            }
            Tail::Clean => {}
            Tail::Torn(bytes) if last => {
                self.out.torn = Some(Torn { file: name.to_owned(), offset: offset as u64, bytes });
            }
            Tail::Torn(_) => return Err((offset, "incomplete group, but it is not in the last file".into())),
            Tail::Corrupt(what) => return Err((offset, what)),
        }
        Ok(offset)
    }

    fn frame(&mut self, header: &Header, mut records: &[u8]) -> Result<(), String> {
        if std::mem::replace(&mut self.started, true) && header.sequence != self.out.next_sequence {
            return Err(format!("group {} where {} should be", header.sequence, self.out.next_sequence));
        }
        self.out.next_sequence = header.sequence + 1;
        self.may_skip = !std::mem::replace(&mut self.out.sealed, records.is_empty());
        while !records.is_empty() {
            let (record, rest) = Record::decode(records).ok_or("a record that cannot be one")?;
            self.record(&record)?;
            records = rest;
        }
        match self.out.revision.replace(header.revision) {
            Some(revision) if revision != header.revision => {
                Err(format!("group ends at revision {}, its records at {revision}", header.revision))
            }
            _ => Ok(()),
        }
    }

    fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
        let previous = self.out.state.get(record.resource, record.namespace, record.name).cloned();
        if record.kind == Kind::Copy {
            return match previous {
                None => {
                    let key = self.key(record);
                    drop(self.out.state.put(record.to_entry(key, self.transformer)));
                    Ok(())
                }
                Some(known) if known.revision == record.revision => Ok(()),
                Some(known) => Err(format!("a copy of revision {} of what is at {}", record.revision, known.revision)),
            };
        }
        match self.out.revision.replace(record.revision) {
            Some(revision) if !self.follows(revision, record.revision) => {
                return Err(format!("revision {} after {revision}", record.revision));
            }
            _ => self.may_skip = false,
        }
        let created = record.kind == Kind::Put && record.created == record.revision;
        if created && previous.is_some() {
            return Err(format!("revision {} creates what exists", record.revision));
        }
        let key = previous.as_ref().map_or_else(|| self.key(record), |entry| entry.key.clone());
        let entry = record.to_entry(key, self.transformer);
        let deleted = record.kind == Kind::Delete;
        if deleted {
            self.out.state.remove(&entry.key);
        } else {
            self.out.state.put(entry.clone());
        }
        // Watchers cannot be told of what nobody can read: they start over from the state.
        let readable = |entry: &Entry| entry.unreadable().is_none();
        let known = (created || previous.is_some()) && readable(&entry) && previous.as_deref().is_none_or(readable);
        self.remember(known, Event { revision: record.revision, entry, previous, deleted });
        Ok(())
    }

    /// Whether a write at `next` may come after `revision`.
    fn follows(&self, revision: Revision, next: Revision) -> bool {
        next == revision + 1 || (self.may_skip && next == revision + UNFLUSHED_REVISIONS + 1)
    }

    /// History starts over where an event's past is not `known` any more.
    fn remember(&mut self, known: bool, event: Event) {
        if !known {
            self.out.events.clear();
            self.history_bytes = 0;
            return;
        }
        self.history_bytes += held_bytes(&event);
        self.out.events.push_back(event);
        while self.history_bytes > self.limits.bytes || self.out.events.len() > self.limits.events {
            let Some(oldest) = self.out.events.pop_front() else { break };
            self.history_bytes -= held_bytes(&oldest);
        }
    }

    fn key(&self, record: &Record<'_>) -> Key {
        self.out.state.interned(record.key())
    }
}
