//! Frames to events and back, with no I/O.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::streams::CHUNK_BYTES;

/// Which end of the connection we are: clients mask what they send, servers do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

/// What the peer did. A data message comes as one or more events; its size has no limit because
/// no more than a chunk of it is ever held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Data {
        text: bool,
        first: bool,
        last: bool,
        bytes: Bytes,
    },
    Ping(Bytes),
    Pong(Bytes),
    /// Status code, if the peer gave one.
    Close(Option<u16>),
}

/// A peer that does not speak RFC 6455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("websocket: reserved bits set")]
    ReservedBits,
    #[error("websocket: unknown opcode {0}")]
    Opcode(u8),
    #[error("websocket: frame masked by a server or unmasked by a client")]
    Masking,
    #[error("websocket: fragmented or oversized control frame")]
    Control,
    #[error("websocket: continuation without a message, or a message inside a message")]
    Fragmentation,
    #[error("websocket: impossible frame length")]
    Length,
}

/// In place of a short length: 2 or 8 bytes of length follow.
const LENGTH_16: u8 = 0x7e;
const LENGTH_64: u8 = 0x7f;

/// Longest payload of a control frame.
const MAX_CONTROL: u64 = 125;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn parse(bits: u8) -> Result<Self, Error> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            other => return Err(Error::Opcode(other)),
        })
    }

    fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// A frame whose header has been read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    fin: bool,
    opcode: Opcode,
    remaining: u64,
    mask: [u8; 4],
}

/// Incremental decoder: append to [`Decoder::buffer`], then take events until there is none.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    buffer: BytesMut,
    frame: Option<Frame>,
    message: Option<Message>,
}

/// A data message under way.
#[derive(Clone, Copy, Debug)]
struct Message {
    text: bool,
    /// No event has been made of it yet.
    fresh: bool,
}

impl Decoder {
    pub fn new(role: Role) -> Self {
        Self { role, buffer: BytesMut::new(), frame: None, message: None }
    }

    /// Where input goes.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.buffer.reserve(CHUNK_BYTES);
        &mut self.buffer
    }

    /// The next event, `None` when more input is needed.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        let frame = match self.frame {
            Some(frame) => frame,
            None => match self.header()? {
                Some(frame) => frame,
                None => return Ok(None),
            },
        };
        self.frame = Some(frame);
        if frame.opcode.is_control() { self.control(frame) } else { Ok(self.data(frame)) }
    }

    fn header(&mut self) -> Result<Option<Frame>, Error> {
        let [b0, b1, rest @ ..] = &self.buffer[..] else { return Ok(None) };
        let (fin, masked) = (b0 & 0x80 != 0, b1 & 0x80 != 0);
        if b0 & 0x70 != 0 {
            return Err(Error::ReservedBits);
        }
        let opcode = Opcode::parse(b0 & 0x0f)?;
        if masked != (self.role == Role::Server) {
            return Err(Error::Masking);
        }
        let extended = match b1 & 0x7f {
            LENGTH_16 => 2,
            LENGTH_64 => 8,
            _ => 0,
        };
        let mask_length = if masked { 4 } else { 0 };
        if rest.len() < extended + mask_length {
            return Ok(None);
        }
        let remaining = match extended {
            0 => u64::from(b1 & 0x7f),
            n => rest[..n].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        if remaining > i64::MAX as u64 {
            return Err(Error::Length);
        }
        let mut mask = [0; 4];
        mask[..mask_length].copy_from_slice(&rest[extended..extended + mask_length]);
        let frame = Frame { fin, opcode, remaining, mask };
        self.begin(frame)?;
        self.buffer.advance(2 + extended + mask_length);
        Ok(Some(frame))
    }

    fn begin(&mut self, frame: Frame) -> Result<(), Error> {
        match frame.opcode {
            Opcode::Continuation if self.message.is_none() => Err(Error::Fragmentation),
            Opcode::Text | Opcode::Binary if self.message.is_some() => Err(Error::Fragmentation),
            Opcode::Text | Opcode::Binary => {
                self.message = Some(Message { text: frame.opcode == Opcode::Text, fresh: true });
                Ok(())
            }
            _ if frame.opcode.is_control() && (!frame.fin || frame.remaining > MAX_CONTROL) => Err(Error::Control),
            _ => Ok(()),
        }
    }

    fn control(&mut self, frame: Frame) -> Result<Option<Event>, Error> {
        let length = frame.remaining as usize;
        if self.buffer.len() < length {
            return Ok(None);
        }
        let mut payload = self.buffer.split_to(length);
        unmask(&mut payload, frame.mask);
        self.frame = None;
        Ok(Some(match frame.opcode {
            Opcode::Ping => Event::Ping(payload.freeze()),
            Opcode::Pong => Event::Pong(payload.freeze()),
            _ if length == 1 => return Err(Error::Control),
            _ => Event::Close((length >= 2).then(|| payload.get_u16())),
        }))
    }

    fn data(&mut self, mut frame: Frame) -> Option<Event> {
        let length = frame.remaining.min(self.buffer.len().min(CHUNK_BYTES) as u64) as usize;
        if length == 0 && frame.remaining > 0 {
            return None;
        }
        let mut payload = self.buffer.split_to(length);
        unmask(&mut payload, frame.mask);
        frame.mask.rotate_left(length % 4);
        frame.remaining -= length as u64;
        let message = self.message.as_mut().expect("`begin` starts a message before its data");
        let (text, first) = (message.text, std::mem::replace(&mut message.fresh, false));
        let last = frame.fin && frame.remaining == 0;
        self.frame = (frame.remaining > 0).then_some(frame);
        if last {
            self.message = None;
        }
        Some(Event::Data { text, first, last, bytes: payload.freeze() })
    }
}

/// The header of an unfragmented frame.
pub(super) fn put_header(out: &mut BytesMut, opcode: Opcode, length: usize, mask: Option<[u8; 4]>) {
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    out.put_u8(0x80 | opcode as u8);
    match length {
        0..=125 => out.put_u8(mask_bit | length as u8),
        126..=0xffff => {
            out.put_u8(mask_bit | LENGTH_16);
            out.put_u16(length as u16);
        }
        _ => {
            out.put_u8(mask_bit | LENGTH_64);
            out.put_u64(length as u64);
        }
    }
    out.put_slice(mask.as_ref().map_or(&[][..], |mask| &mask[..]));
}

/// Masking and unmasking are the same.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    if mask == [0; 4] {
        return;
    }
    let (words, rest) = payload.as_chunks_mut::<4>();
    let key = u32::from_ne_bytes(mask);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(role: Role, pieces: &[&[u8]]) -> Result<Vec<Event>, Error> {
        let mut decoder = Decoder::new(role);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.buffer().extend_from_slice(piece);
            while let Some(event) = decoder.next_event()? {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn data(text: bool, first: bool, last: bool, bytes: &'static [u8]) -> Event {
        Event::Data { text, first, last, bytes: Bytes::from_static(bytes) }
    }

    /// The examples of RFC 6455, section 5.7.
    #[test]
    fn reads_the_rfc_examples() {
        let cases: [(Role, &[u8], Vec<Event>); 6] = [
            (Role::Client, b"\x81\x05Hello", vec![data(true, true, true, b"Hello")]),
            (
                Role::Server,
                &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
                vec![data(true, true, true, b"Hello")],
            ),
            (
                Role::Client,
                b"\x01\x03Hel\x80\x02lo",
                vec![data(true, true, false, b"Hel"), data(true, false, true, b"lo")],
            ),
            (Role::Client, b"\x89\x05Hello", vec![Event::Ping(Bytes::from_static(b"Hello"))]),
            (Role::Client, b"\x88\x02\x03\xe8", vec![Event::Close(Some(1000))]),
            (Role::Client, b"\x82\x00", vec![data(false, true, true, b"")]),
        ];
        for (role, bytes, events) in cases {
            assert_eq!(decode(role, &[bytes]), Ok(events), "{bytes:?}");
        }
    }

    #[test]
    fn refuses_what_the_rfc_refuses() {
        let cases: [(&[u8], Error); 7] = [
            (b"\xc1\x00", Error::ReservedBits),
            (b"\x83\x00", Error::Opcode(3)),
            (b"\x81\x80\0\0\0\0", Error::Masking),
            (b"\x09\x00", Error::Control),
            (b"\x89\x7e\x00\x80", Error::Control),
            (b"\x80\x00", Error::Fragmentation),
            (b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", Error::Length),
        ];
        for (bytes, error) in cases {
            assert_eq!(decode(Role::Client, &[bytes]), Err(error), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_input_is_total_and_bounded(input in proptest::collection::vec(any::<u8>(), 0..512), client in any::<bool>()) {
            let role = if client { Role::Client } else { Role::Server };
            let mut decoder = Decoder::new(role);
            decoder.buffer().extend_from_slice(&input);
            while let Ok(Some(_)) = decoder.next_event() {}
            prop_assert!(decoder.buffer.capacity() <= 4 * CHUNK_BYTES);
        }

        #[test]
        fn messages_survive_any_cut(payload in proptest::collection::vec(any::<u8>(), 0..70_000), cut in 0usize..70_000, mask in any::<[u8; 4]>()) {
            let mut wire = BytesMut::new();
            put_header(&mut wire, Opcode::Binary, payload.len(), Some(mask));
            let start = wire.len();
            wire.extend_from_slice(&payload);
            unmask(&mut wire[start..], mask);
            let (a, b) = wire.split_at(cut.min(wire.len()));
            let events = decode(Role::Server, &[a, b]).expect("valid");
            let mut got = Vec::new();
            for event in &events {
                let Event::Data { bytes, .. } = event else { panic!("not data: {event:?}") };
                got.extend_from_slice(bytes);
            }
            prop_assert_eq!(got, payload);
            let ends = events.iter().filter(|e| matches!(e, Event::Data { last: true, .. })).count();
            prop_assert_eq!(ends, 1);
        }
    }
}
