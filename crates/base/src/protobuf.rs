//! Protobuf on the wire, as much of it as the messages of gRPC services use that Orlop calls: etcd's, a key
//! manager's, a trace collector's.

use bytes::Bytes;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// A message being written. Fields are written also when they have their default: in a `oneof` that
/// is not the same as leaving them out.
#[derive(Clone, Debug, Default)]
pub struct Message(Vec<u8>);

impl Message {
    pub fn int(mut self, number: u64, value: u64) -> Message {
        self.varint(number << 3 | VARINT);
        self.varint(value);
        self
    }

    pub fn fixed64(mut self, number: u64, value: u64) -> Message {
        self.varint(number << 3 | FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub fn bytes(mut self, number: u64, value: &[u8]) -> Message {
        self.varint(number << 3 | LENGTH);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub fn message(self, number: u64, value: Message) -> Message {
        self.bytes(number, &value.0)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a protobuf message")]
pub struct Malformed;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Int(u64),
    Bytes(Bytes),
}

impl Value {
    pub fn int(self) -> Result<u64, Malformed> {
        match self {
            Value::Int(value) => Ok(value),
            Value::Bytes(_) => Err(Malformed),
        }
    }

    pub fn bytes(self) -> Result<Bytes, Malformed> {
        match self {
            Value::Bytes(value) => Ok(value),
            Value::Int(_) => Err(Malformed),
        }
    }
}

/// Calls `take` with every field's number and value. What is in bytes shares `message`.
pub fn read(message: &Bytes, mut take: impl FnMut(u64, Value) -> Result<(), Malformed>) -> Result<(), Malformed> {
    let mut rest = message.clone();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            VARINT => Value::Int(varint(&mut rest)?),
            LENGTH => {
                let length = varint(&mut rest)?;
                Value::Bytes(split(&mut rest, length)?)
            }
            FIXED64 => Value::Bytes(split(&mut rest, 8)?),
            FIXED32 => Value::Bytes(split(&mut rest, 4)?),
            _ => return Err(Malformed),
        };
        take(tag >> 3, value)?;
    }
    Ok(())
}

fn split(rest: &mut Bytes, length: u64) -> Result<Bytes, Malformed> {
    if length > rest.len() as u64 {
        return Err(Malformed);
    }
    Ok(rest.split_to(length as usize))
}

fn varint(rest: &mut Bytes) -> Result<u64, Malformed> {
    let mut value = 0;
    for (at, byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let _ = rest.split_to(at + 1);
            return Ok(value);
        }
    }
    Err(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let inner = Message::default().int(3, 0).int(64, u64::MAX);
        let bytes =
            Bytes::copy_from_slice(Message::default().bytes(1, b"key").message(2, inner).int(5, 300).as_bytes());
        let mut seen = Vec::new();
        read(&bytes, |number, value| {
            seen.push((number, value));
            Ok(())
        })
        .expect("a message");
        assert_eq!(seen[0], (1, Value::Bytes(Bytes::from_static(b"key"))));
        assert_eq!(seen[2], (5, Value::Int(300)));
        let mut inside = Vec::new();
        read(&seen[1].1.clone().bytes().expect("bytes"), |number, value| {
            inside.push((number, value.int()?));
            Ok(())
        })
        .expect("a message");
        assert_eq!(inside, [(3, 0), (64, u64::MAX)]);
    }

    #[test]
    fn nonsense_is_refused_and_never_panics() {
        for bytes in [&[0x80][..], &[0x0a, 5, 1], &[0x0b], &[0xff; 12], &[0x09, 1, 2]] {
            assert_eq!(read(&Bytes::copy_from_slice(bytes), |_, _| Ok(())), Err(Malformed), "{bytes:?}");
        }
    }
}
