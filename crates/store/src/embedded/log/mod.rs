//! The log: files of reserved space, filled one frame after the other, given back oldest first.
//!
//! There are no checkpoints. What a full one costs is twice the live data, if only for a moment; instead
//! the oldest file's still living records are copied to the end, a little with each group of writes,
//! and then the file goes (see [`clean`]). So the log as a whole always is the state, recovery reads one
//! format, and a deletion's record may go with its file: nothing older can be left.

mod clean;
mod frame;
mod record;
mod recover;
mod tail;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{OpenError, Torn};
use crate::disk::{Disk, DiskFile};
use crate::{Event, HistoryLimits, Revision, State, Transformer, transform};
use clean::Cleaner;
use frame::{Frame, frame_size};
use record::Kind;

pub(crate) use record::fits;

/// A frame takes records up to this, or a single larger one.
const FRAME_BYTES: usize = 1 << 20;

const SUFFIX: &str = ".log";

pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    /// What records are sealed by.
    transformer: Option<Arc<dyn Transformer>>,
    segment_bytes: u64,
    /// Oldest first; frames go into the last.
    segments: VecDeque<Segment>,
    active: Box<dyn DiskFile>,
    /// Size of the active file.
    reserved: u64,
    next_sequence: u64,
    frame: Frame,
    cleaner: Cleaner,
    /// Over all segments.
    used_bytes: u64,
    /// Of the state's records.
    live_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub number: u64,
    /// Bytes up to the end of its last frame.
    pub used: u64,
}

/// What opening found.
pub(crate) struct Opened {
    pub log: Log,
    pub state: State,
    /// Of the last write; `None` if there was none.
    pub revision: Option<Revision>,
    /// Whether the log was closed in order: nothing was given out that is not in it.
    pub sealed: bool,
    pub events: Vec<Event>,
    pub torn: Option<Torn>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogStats {
    pub used_bytes: u64,
    pub live_bytes: u64,
    pub segments: u64,
    pub copied_bytes: u64,
}

impl Log {
    /// Reads everything and makes the end ready to write to.
    pub fn open(
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        history: &HistoryLimits,
        transformer: Option<Arc<dyn Transformer>>,
    ) -> Result<Opened, OpenError> {
        let mut found = recover::recover(&*disk, history, transformer.as_deref())?;
        let first = found.segments.is_empty();
        if first {
            found.segments.push_back(Segment { number: 1, used: 0 });
        }
        let Segment { number, used } = found.segments[found.segments.len() - 1];
        let name = segment_name(number);
        let active = if first {
            create(&*disk, number, segment_bytes)
        } else {
            reopen(&*disk, &name, used, segment_bytes, found.torn.is_some())
        };
        let failed = |source| OpenError::Io { attempt: "prepare", path: name.clone(), source };
        let active = active.map_err(failed)?;
        let reserved = active.size().map_err(failed)?;
        let log = Log {
            disk,
            transformer,
            segment_bytes,
            used_bytes: found.segments.iter().map(|segment| segment.used).sum(),
            live_bytes: found.state.entries().map(|entry| record::size(entry) as u64).sum(),
            segments: found.segments,
            active,
            reserved,
            next_sequence: found.next_sequence,
            frame: Frame::default(),
            cleaner: Cleaner::default(),
        };
        Ok(Opened {
            log,
            state: found.state,
            revision: found.revision,
            sealed: found.sealed,
            events: found.events.into(),
            torn: found.torn,
        })
    }

    /// Writes one frame; it counts after [`Log::flush`].
    ///
    /// `state` is the one after `events`, or `None` when more of the group follows.
    pub fn write(&mut self, events: &[Event], state: Option<&State>) -> io::Result<()> {
        let Some(revision) = events.last().map(|event| event.revision) else { return Ok(()) };
        self.frame.clear();
        for event in events {
            let kind = if event.deleted { Kind::Delete } else { Kind::Put };
            let sealed = transform::seal(self.transformer.as_deref(), &event.entry);
            let kept = sealed.as_deref().unwrap_or(&event.entry.json);
            record::encode(self.frame.records(), kind, &event.entry, kept);
            let previous = event.previous.as_ref().map_or(0, |entry| record::size(entry) as u64);
            let now = if event.deleted { 0 } else { record::size(&event.entry) as u64 };
            self.live_bytes = self.live_bytes + now - previous;
        }
        self.earn_credit();
        if let Some(state) = state {
            self.clean(state)?;
        }
        self.append(revision)
    }

    /// Notes durably that `revision` is the last one given out, after everything up to it was flushed.
    pub fn seal(&mut self, revision: Revision) -> io::Result<()> {
        self.frame.clear();
        self.append(revision)?;
        self.flush()
    }

    /// Writes what is in the frame.
    fn append(&mut self, revision: Revision) -> io::Result<()> {
        self.make_room(frame_size(self.frame.payload_len()) as u64)?;
        let oldest = self.oldest_needed();
        let bytes = self.frame.finish(self.next_sequence, revision, oldest);
        let segment = self.segments.back_mut().expect("there is always a segment");
        self.active
            .write_at(segment.used, bytes)
            .map_err(|error| attempted("writing", &segment_name(segment.number), &error))?;
        segment.used += bytes.len() as u64;
        self.used_bytes += bytes.len() as u64;
        self.next_sequence += 1;
        Ok(())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.active.sync().map_err(|error| attempted("flushing", &self.active_name(), &error))
    }

    pub fn flush_delay(&self) -> Duration {
        self.disk.flush_delay()
    }

    pub fn stats(&self) -> LogStats {
        LogStats {
            used_bytes: self.used_bytes,
            live_bytes: self.live_bytes,
            segments: self.segments.len() as u64,
            copied_bytes: self.cleaner.copied_bytes,
        }
    }

    /// Goes on to a new file when the active one cannot take `bytes` more.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let Segment { number, used } = *self.segments.back().expect("there is always a segment");
        if used + bytes <= self.reserved {
            return Ok(());
        }
        let reserve = self.segment_bytes.max(bytes);
        if used == 0 {
            self.reserved = reserve;
            return self.active.resize(reserve).map_err(|error| attempted("enlarging", &self.active_name(), &error));
        }
        let next = Segment { number: number + 1, used: 0 };
        let file = create(&*self.disk, next.number, reserve)
            .map_err(|error| attempted("creating", &segment_name(next.number), &error))?;
        // Gives back what was reserved and not needed. If a crash undoes that, zeros stay: no harm.
        self.active.resize(used).map_err(|error| attempted("trimming", &self.active_name(), &error))?;
        self.active = file;
        self.reserved = reserve;
        self.segments.push_back(next);
        Ok(())
    }

    fn active_name(&self) -> String {
        segment_name(self.segments.back().expect("there is always a segment").number)
    }
}

/// A new, empty, durable file.
fn create(disk: &dyn Disk, number: u64, size: u64) -> io::Result<Box<dyn DiskFile>> {
    let file = disk.create(&segment_name(number), size)?;
    file.sync()?;
    disk.sync()?;
    Ok(file)
}

/// The last file, with nothing but zeros from `used` on.
fn reopen(disk: &dyn Disk, name: &str, used: u64, size: u64, torn: bool) -> io::Result<Box<dyn DiskFile>> {
    let file = disk.open(name)?;
    let length = file.size()?;
    if torn {
        file.resize(used)?;
    }
    if torn || length < size {
        file.resize(size.max(used))?;
        file.sync()?;
    }
    // Its name may not have been durable yet when the machine went down.
    disk.sync()?;
    Ok(file)
}

fn segment_name(number: u64) -> String {
    format!("{number:016}{SUFFIX}")
}

fn segment_number(name: &str) -> Option<u64> {
    name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 16)?.parse().ok()
}

/// `error` with what was being done, of the same kind.
fn attempted(attempt: &str, file: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{attempt} {file}: {error}"))
}

/// Splits a group's events into what goes into one frame each: everything into one, mostly.
pub(crate) fn frames(events: &[Event]) -> impl Iterator<Item = &[Event]> {
    let mut rest = events;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let over = rest.iter().position(|event| {
            bytes += record::size(&event.entry);
            bytes > FRAME_BYTES
        });
        let (frame, after) = rest.split_at(over.map_or(rest.len(), |index| index.max(1)));
        rest = after;
        (!frame.is_empty()).then_some(frame)
    })
}
