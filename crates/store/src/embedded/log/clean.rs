//! Giving log space back, oldest file first.
//!
//! With each group of writes some of the oldest file is read; its records that still count join the
//! group's last frame, under the same flush. Once a file has been gone through it is removed.
//!
//! How fast: let L be the live bytes. Cleaning begins when the log is over 3/2 L (plus slack). At worst
//! all L must be copied before anything dead turns up; reading [`PACE`] = 4 bytes for each new one, the
//! log grows by L/4 meanwhile: 7/4 L. When live data shrinks instead, dead bytes appear faster than that;
//! above 7/4 L the pace is four times as fast. So the log stays below 2 L plus slack, and a group is
//! never delayed by more than a fixed multiple of its own size.

use std::io;

use super::frame::{Found, HEADER, Header, frame_at};
use super::record::{Kind, Record};
use super::{Log, Segment, attempted, segment_name};
use crate::State;
use crate::disk::DiskFile;

/// Old bytes read per new byte.
const PACE: u64 = 4;

#[derive(Default)]
pub(crate) struct Cleaner {
    /// The oldest file, while it is being gone through, and how far that got.
    file: Option<Box<dyn DiskFile>>,
    offset: u64,
    /// Gone through; to be removed once the copies are flushed.
    done: bool,
    /// Old bytes that may be read.
    credit: u64,
    buffer: Vec<u8>,
    pub copied_bytes: u64,
}

impl Log {
    /// To be called for each frame before it is written, with its own records in it.
    pub(super) fn earn_credit(&mut self) {
        let slack = 2 * self.segment_bytes;
        let excess = self.used_bytes.saturating_sub(slack);
        let pace = match excess {
            excess if excess <= self.live_bytes + self.live_bytes / 2 => return self.cleaner.credit = 0,
            excess if excess <= self.live_bytes / 4 * 7 => PACE,
            _ => 4 * PACE,
        };
        self.cleaner.credit += self.frame.payload_len() as u64 * pace;
    }

    /// Adds copies to the frame that is being built. `state` is the one after that frame.
    pub(super) fn clean(&mut self, state: &State) -> io::Result<()> {
        let before = self.frame.payload_len();
        while self.cleaner.credit > 0 && !self.cleaner.done && self.segments.len() > 1 {
            self.clean_frame(state)?;
        }
        self.cleaner.copied_bytes += (self.frame.payload_len() - before) as u64;
        Ok(())
    }

    /// Goes through one old frame.
    fn clean_frame(&mut self, state: &State) -> io::Result<()> {
        let Segment { number, used } = self.segments[0];
        let cleaner = &mut self.cleaner;
        if cleaner.offset >= used {
            cleaner.done = true;
            return Ok(());
        }
        let size = cleaner
            .read_frame(&*self.disk, number)
            .map_err(|error| attempted("reading back", &segment_name(number), &error))?;
        let Found::Frame { mut records, .. } = frame_at(&cleaner.buffer, 0) else {
            return Err(rotten(number, cleaner.offset));
        };
        while !records.is_empty() {
            let Some((record, rest)) = Record::decode(records) else {
                return Err(rotten(number, cleaner.offset));
            };
            let newest = state.get(record.resource, record.namespace, record.name);
            if record.kind != Kind::Delete && newest.is_some_and(|entry| entry.revision == record.revision) {
                Record { kind: Kind::Copy, ..record }.encode(self.frame.records());
            }
            records = rest;
        }
        cleaner.offset += size;
        cleaner.credit = cleaner.credit.saturating_sub(size);
        Ok(())
    }

    /// The oldest file that is needed once the frame being built is flushed.
    pub(super) fn oldest_needed(&self) -> u64 {
        self.segments[0].number + u64::from(self.cleaner.done)
    }

    /// Removes the oldest file if it has been gone through. To be called after a flush.
    pub fn reclaim(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.cleaner.done) {
            return Ok(());
        }
        let Some(Segment { number, used }) = self.segments.pop_front() else { return Ok(()) };
        self.cleaner.file = None;
        self.cleaner.offset = 0;
        self.used_bytes -= used;
        // Durable before the next file goes: a younger one must never be missing while an older is there.
        let removed = self.disk.remove(&segment_name(number)).and_then(|()| self.disk.sync());
        removed.map_err(|error| attempted("removing", &segment_name(number), &error))
    }
}

impl Cleaner {
    /// Reads the frame at the offset into the buffer; answers its size.
    fn read_frame(&mut self, disk: &dyn crate::disk::Disk, number: u64) -> io::Result<u64> {
        if self.file.is_none() {
            self.file = Some(disk.open(&segment_name(number))?);
        }
        let file = self.file.as_ref().expect("opened above");
        self.buffer.resize(HEADER, 0);
        let length = file.read_at(self.offset, &mut self.buffer)?;
        self.buffer.truncate(length);
        let Some(header) = Header::decode(&self.buffer) else { return Err(rotten(number, self.offset)) };
        self.buffer.resize(header.frame_size(), 0);
        let length = file.read_at(self.offset, &mut self.buffer)?;
        self.buffer.truncate(length);
        Ok(header.frame_size() as u64)
    }
}

fn rotten(number: u64, offset: u64) -> io::Error {
    let what = format!("log file {} is corrupt at offset {offset}", segment_name(number));
    io::Error::new(io::ErrorKind::InvalidData, what)
}
