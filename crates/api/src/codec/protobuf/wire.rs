//! The wire format itself: varints, tags, lengths.

use super::ProtobufError;

/// A field as it stands on the wire.
pub enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    /// No type has one; read over.
    Fixed32,
    Bytes(&'a [u8]),
}

impl<'a> Payload<'a> {
    fn wire_type(&self) -> u8 {
        match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32 => 5,
        }
    }

    pub fn varint(&self, field: &str) -> Result<u64, ProtobufError> {
        if let Self::Varint(value) = self { Ok(*value) } else { Err(self.wrong(field)) }
    }

    pub fn bytes(&self, field: &str) -> Result<&'a [u8], ProtobufError> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(self.wrong(field)) }
    }

    pub fn double(&self, field: &str) -> Result<f64, ProtobufError> {
        if let Self::Fixed64(bits) = self { Ok(f64::from_bits(*bits)) } else { Err(self.wrong(field)) }
    }

    fn wrong(&self, field: &str) -> ProtobufError {
        ProtobufError::WrongWireType { field: field.to_owned(), wire_type: self.wire_type() }
    }
}

/// Reads the fields of one message in order.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn next(&mut self) -> Result<Option<(u32, Payload<'a>)>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let tag = u32::try_from(key >> 3).ok().filter(|tag| *tag > 0).ok_or(ProtobufError::IllegalTag(key >> 3))?;
        let payload = match key & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Overflow)?;
                Payload::Bytes(self.take(length)?)
            }
            5 => self.array::<4>().map(|_| Payload::Fixed32)?,
            other => return Err(ProtobufError::WrongWireType { field: tag.to_string(), wire_type: other as u8 }),
        };
        Ok(Some((tag, payload)))
    }

    /// The numbers of a packed field.
    pub fn packed(mut self, fixed: bool) -> Result<Vec<Payload<'a>>, ProtobufError> {
        let mut values = Vec::new();
        while !self.rest.is_empty() {
            values.push(if fixed {
                Payload::Fixed64(u64::from_le_bytes(self.array()?))
            } else {
                Payload::Varint(self.varint()?)
            });
        }
        Ok(values)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ProtobufError::UnexpectedEnd)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtobufError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("took exactly N bytes"))
    }

    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0u64;
        // Ten groups of seven bits hold 64.
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Overflow)
    }
}

/// Writes the fields of messages, nested ones in place.
#[derive(Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub fn number(&mut self, tag: u32, value: u64) {
        self.varint(u64::from(tag) << 3);
        self.varint(value);
    }

    pub fn double(&mut self, tag: u32, value: f64) {
        self.varint(u64::from(tag) << 3 | 1);
        self.raw(&value.to_le_bytes());
    }

    pub fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.varint(u64::from(tag) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }

    /// A nested message. Its length is known only afterwards: room for the usual one byte is kept, and what was
    /// written moves when the length needs more.
    pub fn nested(&mut self, tag: u32, write: impl FnOnce(&mut Self)) {
        self.varint(u64::from(tag) << 3 | 2);
        let at = self.out.len();
        self.out.push(0);
        write(self);
        let length = self.out.len() - at - 1;
        let Ok(short @ ..0x80) = u8::try_from(length) else {
            let mut prefix = Self::default();
            prefix.varint(length as u64);
            self.out.splice(at..=at, prefix.out);
            return;
        };
        self.out[at] = short;
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}
