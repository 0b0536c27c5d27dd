//! Frames to values and back, with no I/O (draft-mbelshe-httpbis-spdy-00, section 2; 3.1's
//! session window).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Headers;
use super::headers::{Deflater, Inflater};
use crate::streams::CHUNK_BYTES;

/// One frame, or a piece of a data frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    SynStream {
        id: u32,
        fin: bool,
        headers: Headers,
    },
    SynReply {
        id: u32,
        fin: bool,
    },
    RstStream {
        id: u32,
        status: u32,
    },
    /// The initial window of streams, if the settings hold it.
    Settings {
        initial_window: Option<u32>,
    },
    Ping {
        id: u32,
    },
    GoAway {
        last_good: u32,
    },
    Headers {
        id: u32,
        fin: bool,
    },
    WindowUpdate {
        id: u32,
        delta: u32,
    },
    /// `fin` only stands on the last piece.
    Data {
        id: u32,
        fin: bool,
        bytes: Bytes,
    },
}

/// A peer that does not speak SPDY/3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("spdy: unsupported version {0}")]
    Version(u16),
    #[error("spdy: control frame of type {0} has a wrong length")]
    Length(u16),
    #[error("spdy: invalid header block")]
    HeaderBlock,
}

/// Reasons in RST_STREAM.
pub(super) mod reset {
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const REFUSED_STREAM: u32 = 3;
    pub const CANCEL: u32 = 5;
}

mod kind {
    pub const SYN_STREAM: u16 = 1;
    pub const SYN_REPLY: u16 = 2;
    pub const RST_STREAM: u16 = 3;
    pub const SETTINGS: u16 = 4;
    pub const PING: u16 = 6;
    pub const GOAWAY: u16 = 7;
    pub const HEADERS: u16 = 8;
    pub const WINDOW_UPDATE: u16 = 9;
}

const VERSION: u16 = 3;
const FLAG_FIN: u8 = 1;
const HEAD_BYTES: usize = 8;
/// Largest control frame: a header block at its limit does not compress to more.
const MAX_CONTROL: usize = 64 * 1024;
const ID_MASK: u32 = 0x7fff_ffff;
/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const INITIAL_WINDOW: u32 = 7;

/// Incremental decoder: append to [`Decoder::buffer`], then take frames until there is none.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    inflater: Inflater,
    data: Option<DataFrame>,
}

/// A data frame whose payload is still coming.
#[derive(Clone, Copy, Debug)]
struct DataFrame {
    id: u32,
    fin: bool,
    remaining: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), inflater: Inflater::new(), data: None }
    }
}

impl Decoder {
    /// Where input goes.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.buffer.reserve(CHUNK_BYTES);
        &mut self.buffer
    }

    /// The next frame, `None` when more input is needed. Frames of unknown type are passed over.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(data) = self.data {
                return Ok(self.piece(data));
            }
            let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
            let word = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            let (flags, length) = (head[4], u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize);
            if word >> 31 == 0 {
                self.buffer.advance(HEAD_BYTES);
                self.data = Some(DataFrame { id: word, fin: flags & FLAG_FIN != 0, remaining: length });
                continue;
            }
            let (version, kind) = ((word >> 16 & 0x7fff) as u16, word as u16);
            if version != VERSION {
                return Err(Error::Version(version));
            }
            if length > MAX_CONTROL {
                return Err(Error::Length(kind));
            }
            if self.buffer.len() < HEAD_BYTES + length {
                return Ok(None);
            }
            let mut payload = self.buffer.split_to(HEAD_BYTES + length);
            payload.advance(HEAD_BYTES);
            if let Some(frame) = self.control(kind, flags & FLAG_FIN != 0, &payload)? {
                return Ok(Some(frame));
            }
        }
    }

    fn piece(&mut self, mut data: DataFrame) -> Option<Frame> {
        let length = data.remaining.min(self.buffer.len()).min(CHUNK_BYTES);
        if length == 0 && data.remaining > 0 {
            return None;
        }
        data.remaining -= length;
        self.data = (data.remaining > 0).then_some(data);
        let fin = data.fin && data.remaining == 0;
        Some(Frame::Data { id: data.id, fin, bytes: self.buffer.split_to(length).freeze() })
    }

    fn control(&mut self, kind: u16, fin: bool, payload: &[u8]) -> Result<Option<Frame>, Error> {
        let word = |at: usize| {
            let bytes = payload.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or(Error::Length(kind))?;
            Ok(u32::from_be_bytes(*bytes))
        };
        let id = |at| word(at).map(|word| word & ID_MASK);
        let mut block = |at: usize| self.inflater.read(payload.get(at..).ok_or(Error::Length(kind))?);
        Ok(Some(match kind {
            // After the two ids stand priority and credential slot.
            kind::SYN_STREAM => Frame::SynStream { id: id(0)?, fin, headers: block(10)? },
            kind::SYN_REPLY => {
                // Read although unused: the blocks of a direction are one zlib stream.
                block(4)?;
                Frame::SynReply { id: id(0)?, fin }
            }
            kind::HEADERS => {
                block(4)?;
                Frame::Headers { id: id(0)?, fin }
            }
            kind::RST_STREAM => Frame::RstStream { id: id(0)?, status: word(4)? },
            kind::SETTINGS => {
                let entries = payload.get(4..).ok_or(Error::Length(kind))?.as_chunks::<8>().0;
                let window = entries.iter().find(|entry| entry[1..4] == INITIAL_WINDOW.to_be_bytes()[1..]);
                let value = window.map(|entry| u32::from_be_bytes([entry[4], entry[5], entry[6], entry[7]]));
                Frame::Settings { initial_window: value }
            }
            kind::PING => Frame::Ping { id: word(0)? },
            kind::GOAWAY => Frame::GoAway { last_good: id(0)? },
            kind::WINDOW_UPDATE => Frame::WindowUpdate { id: id(0)?, delta: word(4)? & ID_MASK },
            _ => return Ok(None),
        }))
    }
}

/// Writes frames, keeping the state of header compression.
#[derive(Debug)]
pub(super) struct Encoder(Deflater);

impl Encoder {
    pub fn new() -> Self {
        Self(Deflater::new())
    }

    /// Puts a frame into `head` and returns what follows it uncopied.
    pub fn encode(&mut self, frame: Frame, head: &mut Vec<u8>) -> Bytes {
        head.clear();
        match frame {
            Frame::Data { id, fin, bytes } => {
                head.put_u32(id);
                head.put_u32(u32::from(fin) << 24 | bytes.len() as u32);
                return bytes;
            }
            Frame::SynStream { id, fin, headers } => self.control(head, kind::SYN_STREAM, fin, |deflater, head| {
                head.put_u32(id);
                head.put_u32(0);
                head.put_u16(0);
                deflater.write(&headers, head);
            }),
            Frame::SynReply { id, fin } => self.with_empty_block(head, kind::SYN_REPLY, id, fin),
            Frame::Headers { id, fin } => self.with_empty_block(head, kind::HEADERS, id, fin),
            Frame::RstStream { id, status } => self.words(head, kind::RST_STREAM, &[id, status]),
            Frame::Settings { initial_window } => match initial_window {
                Some(window) => self.words(head, kind::SETTINGS, &[1, INITIAL_WINDOW, window]),
                None => self.words(head, kind::SETTINGS, &[0]),
            },
            Frame::Ping { id } => self.words(head, kind::PING, &[id]),
            Frame::GoAway { last_good } => self.words(head, kind::GOAWAY, &[last_good, 0]),
            Frame::WindowUpdate { id, delta } => self.words(head, kind::WINDOW_UPDATE, &[id, delta]),
        }
        Bytes::new()
    }

    fn with_empty_block(&mut self, head: &mut Vec<u8>, kind: u16, id: u32, fin: bool) {
        self.control(head, kind, fin, |deflater, head| {
            head.put_u32(id);
            deflater.write(&Headers::default(), head);
        });
    }

    fn words(&mut self, head: &mut Vec<u8>, kind: u16, words: &[u32]) {
        self.control(head, kind, false, |_, head| words.iter().for_each(|word| head.put_u32(*word)));
    }

    fn control(&mut self, head: &mut Vec<u8>, kind: u16, fin: bool, body: impl FnOnce(&mut Deflater, &mut Vec<u8>)) {
        head.put_u16(0x8000 | VERSION);
        head.put_u16(kind);
        head.put_u32(0);
        body(&mut self.0, head);
        let length = (head.len() - HEAD_BYTES) as u32;
        head[4..HEAD_BYTES].copy_from_slice(&(u32::from(fin) << 24 | length).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire(frames: &[Frame]) -> Vec<u8> {
        let (mut encoder, mut head, mut out) = (Encoder::new(), Vec::new(), Vec::new());
        for frame in frames {
            let rest = encoder.encode(frame.clone(), &mut head);
            out.extend_from_slice(&head);
            out.extend_from_slice(&rest);
        }
        out
    }

    fn decode(pieces: &[&[u8]]) -> Result<Vec<Frame>, Error> {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for piece in pieces {
            decoder.buffer().extend_from_slice(piece);
            while let Some(frame) = decoder.next_frame()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    fn samples() -> Vec<Frame> {
        vec![
            Frame::Settings { initial_window: Some(65536) },
            Frame::SynStream { id: 1, fin: false, headers: Headers::from([("streamtype", "error"), ("port", "80")]) },
            Frame::SynReply { id: 1, fin: false },
            Frame::Data { id: 1, fin: false, bytes: Bytes::from_static(b"hello") },
            Frame::Data { id: 1, fin: true, bytes: Bytes::new() },
            Frame::Ping { id: 7 },
            Frame::WindowUpdate { id: 1, delta: 4096 },
            Frame::Headers { id: 1, fin: true },
            Frame::RstStream { id: 3, status: reset::CANCEL },
            Frame::GoAway { last_good: 3 },
        ]
    }

    #[test]
    fn every_frame_survives_the_wire() {
        assert_eq!(decode(&[&wire(&samples())]), Ok(samples()));
    }

    #[test]
    fn unknown_frames_are_passed_over() {
        let mut input = b"\x80\x03\x00\x63\x00\x00\x00\x02ab".to_vec();
        input.extend(wire(&[Frame::Ping { id: 1 }]));
        assert_eq!(decode(&[&input]), Ok(vec![Frame::Ping { id: 1 }]));
    }

    #[test]
    fn refuses_what_is_not_spdy() {
        assert_eq!(decode(&[b"\x80\x02\x00\x06\x00\x00\x00\x04\0\0\0\x01"]), Err(Error::Version(2)));
        assert_eq!(decode(&[b"\x80\x03\x00\x06\x00\x00\x00\x02\0\0"]), Err(Error::Length(6)));
        assert_eq!(decode(&[b"\x80\x03\x00\x01\x00\xff\xff\xff"]), Err(Error::Length(1)));
    }

    proptest! {
        #[test]
        fn any_input_is_total_and_bounded(input in proptest::collection::vec(any::<u8>(), 0..512), control in any::<bool>()) {
            let mut decoder = Decoder::default();
            if control {
                decoder.buffer().extend_from_slice(b"\x80\x03\x00");
            }
            decoder.buffer().extend_from_slice(&input);
            while let Ok(Some(_)) = decoder.next_frame() {}
            prop_assert!(decoder.buffer.capacity() <= 4 * CHUNK_BYTES);
        }

        #[test]
        fn frames_survive_any_cut(cut in 0usize..200) {
            let wire = wire(&samples());
            let (a, b) = wire.split_at(cut.min(wire.len()));
            let mut got = decode(&[a, b]).expect("valid");
            // A cut inside a data frame makes two pieces of it.
            got.dedup_by(|next, piece| match (piece, next) {
                (Frame::Data { id: 1, fin: false, bytes: a }, Frame::Data { id: 1, fin: false, bytes: b }) => {
                    *a = [&a[..], &b[..]].concat().into();
                    true
                }
                _ => false,
            });
            prop_assert_eq!(got, samples());
        }
    }
}
