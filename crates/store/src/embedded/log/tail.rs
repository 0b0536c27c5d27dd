//! Telling a write that a crash cut off from one that has rotted.
//!
//! At most one frame is under way at a time, and nobody was told that it is durable. A crash leaves
//! some of its sectors written and the others as they were: zeros, as reserved space is. So what
//! follows the last right frame of the last file is
//!
//! * *clean*: nothing but zeros;
//! * *torn*: the remains of one frame, with zeros where a whole piece or its end should be. It never
//!   counted, and is dropped;
//! * *corrupt*: anything else, such as a frame that is all there and still wrong, or one after which
//!   another was written. It had counted, so nobody may drop it.

use super::frame::{ALIGN, Found, HEADER, Header, frame_at, frame_size};

/// What disks write whole or not at all. Larger ones are multiples.
const SECTOR: usize = 512;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    Clean,
    /// Carries how many bytes had been written.
    Torn(u64),
    Corrupt(String),
}

/// Judges the last file from `offset` on, where the frame `sequence` should be and is not.
pub(crate) fn judge(file: &[u8], offset: usize, sequence: u64) -> Tail {
    let tail = &file[offset.min(file.len())..];
    let Some(last) = tail.iter().rposition(|&byte| byte != 0) else { return Tail::Clean };
    if let Some(later) = later_frame(file, offset, sequence) {
        return Tail::Corrupt(format!("no right record group here, but a later one at offset {later}"));
    }
    let torn = Tail::Torn(last as u64 + 1);
    let header = &tail[..HEADER.min(tail.len())];
    match Header::decode(header) {
        // Its end mark is the last thing of a header: zero means that the header did not get that far.
        None if header.len() < HEADER || header[HEADER - 1] == 0 => torn,
        None => Tail::Corrupt("wrong group header".into()),
        Some(header) if header.sequence != sequence => {
            Tail::Corrupt(format!("group {} where {sequence} should be", header.sequence))
        }
        Some(header) if last >= frame_size(header.length as usize) => {
            Tail::Corrupt("written bytes after the last group".into())
        }
        Some(header) if has_hole(tail, offset, HEADER + header.length as usize) => torn,
        Some(_) => Tail::Corrupt("group is all there, but its checksum is wrong".into()),
    }
}

/// The offset of a right frame that was written after the frame `sequence` had been flushed.
fn later_frame(file: &[u8], offset: usize, sequence: u64) -> Option<usize> {
    (offset + ALIGN..file.len())
        .step_by(ALIGN)
        .find(|&at| matches!(frame_at(file, at), Found::Frame { header, .. } if header.sequence > sequence))
}

/// Whether the frame that starts `tail` lacks its end or a whole piece of a sector. No piece of a
/// right one is all zeros: the first has the header, the last the end mark, all others JSON.
fn has_hole(tail: &[u8], offset: usize, end: usize) -> bool {
    if tail.get(end).is_none_or(|&byte| byte == 0) {
        return true;
    }
    let mut start = 0;
    while start <= end {
        let stop = ((offset + start) / SECTOR * SECTOR + SECTOR - offset).min(end + 1);
        if tail[start..stop].iter().all(|&byte| byte == 0) {
            return true;
        }
        start = stop;
    }
    false
}
