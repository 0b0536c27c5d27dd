//! Frames: what one flush makes durable.
//!
//! | bytes | |
//! |---|---|
//! | 3 | magic with the format's version |
//! | 4 | payload length |
//! | 8 | sequence number: one more than the frame before, over all files |
//! | 8 | revision after this frame |
//! | 4 | CRC-32 of the payload |
//! | 4 | CRC-32 of the header so far |
//! | 1 | end mark |
//! | 8 | payload: number of the oldest file that is still needed once this frame is flushed, |
//! | n | and records |
//! | 1 | end mark |
//! | | zeros up to a multiple of [`ALIGN`] |
//!
//! Numbers are little-endian. A frame is written after the one before it has been flushed, never
//! together with it. A frame without records seals the log: whatever was given out before it is in it.
//! Headers lie within a sector, and both end marks are not zero: a write that was
//! cut off by a crash leaves zeros where a rotten one does not (see [`super::tail`]).

use super::record::{u32_at, u64_at};

pub(crate) const ALIGN: usize = 32;
pub(crate) const HEADER: usize = 32;
/// The payload's first bytes.
pub(crate) const OLDEST: usize = 8;
const MAGIC: [u8; 3] = *b"OL1";
pub(crate) const END: u8 = 0xE5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub length: u32,
    pub sequence: u64,
    pub revision: u64,
    pub crc: u32,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..3].copy_from_slice(&MAGIC);
        bytes[3..7].copy_from_slice(&self.length.to_le_bytes());
        bytes[7..15].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[15..23].copy_from_slice(&self.revision.to_le_bytes());
        bytes[23..27].copy_from_slice(&self.crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..27]);
        bytes[27..31].copy_from_slice(&crc.to_le_bytes());
        bytes[31] = END;
        bytes
    }

    /// `None` unless every byte is right.
    pub fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
        let right = bytes[..3] == MAGIC && bytes[31] == END && crc32fast::hash(&bytes[..27]) == u32_at(bytes, 27);
        right.then(|| Header {
            length: u32_at(bytes, 3),
            sequence: u64_at(bytes, 7),
            revision: u64_at(bytes, 15),
            crc: u32_at(bytes, 23),
        })
    }

    /// Bytes of the whole frame in the file.
    pub fn frame_size(&self) -> usize {
        frame_size(self.length as usize)
    }
}

pub(crate) fn frame_size(payload: usize) -> usize {
    (HEADER + payload + 1).next_multiple_of(ALIGN)
}

/// Collects records; one buffer for all frames.
#[derive(Default)]
pub(crate) struct Frame {
    /// Room for the header and the oldest file's number, then records.
    bytes: Vec<u8>,
}

impl Frame {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEADER + OLDEST, 0);
    }

    /// Where records are appended.
    pub fn records(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub fn payload_len(&self) -> usize {
        self.bytes.len().saturating_sub(HEADER)
    }

    /// The bytes to write.
    pub fn finish(&mut self, sequence: u64, revision: u64, oldest: u64) -> &[u8] {
        self.bytes[HEADER..HEADER + OLDEST].copy_from_slice(&oldest.to_le_bytes());
        let payload = &self.bytes[HEADER..];
        let header = Header { length: payload.len() as u32, sequence, revision, crc: crc32fast::hash(payload) };
        self.bytes[..HEADER].copy_from_slice(&header.encode());
        self.bytes.push(END);
        self.bytes.resize(header.frame_size(), 0);
        &self.bytes
    }
}

/// What lies at an offset of a file's bytes.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Frame {
        header: Header,
        oldest: u64,
        records: &'a [u8],
    },
    /// Not a whole, right frame.
    Nothing,
}

/// Reads the frame at `offset`.
pub(crate) fn frame_at(bytes: &[u8], offset: usize) -> Found<'_> {
    let rest = bytes.get(offset..).unwrap_or_default();
    let Some(header) = Header::decode(rest) else { return Found::Nothing };
    let end = HEADER + header.length as usize;
    match (rest.get(HEADER..end), rest.get(end)) {
        (Some(payload), Some(&END)) if payload.len() >= OLDEST && crc32fast::hash(payload) == header.crc => {
            Found::Frame { header, oldest: u64_at(payload, 0), records: &payload[OLDEST..] }
        }
        _ => Found::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_shows() {
        let mut frame = Frame::default();
        frame.clear();
        frame.records().extend_from_slice(b"{\"a\":1}");
        let bytes = frame.finish(7, 9, 3).to_vec();
        assert_eq!(bytes.len() % ALIGN, 0);
        let Found::Frame { header, oldest, records } = frame_at(&bytes, 0) else { panic!("own frame") };
        assert_eq!((header.sequence, header.revision, oldest, records), (7, 9, 3, &b"{\"a\":1}"[..]));
        for bit in 0..(HEADER + OLDEST + 8) * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(frame_at(&bad, 0), Found::Nothing), "bit {bit}");
        }
    }
}
