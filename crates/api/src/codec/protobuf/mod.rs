//! Protobuf both ways, driven by the field table: no generated message code.
//!
//! Every message travels in an envelope: four magic bytes and a `runtime.Unknown` around the object's own
//! message. A list is written from messages that are already encoded, so that a stored object is encoded once.
//! What is written equals byte for byte what upstream writes (fields by number, map entries by key, mandatory
//! fields even when zero).

mod decode;
mod encode;
mod wire;

use serde_json::Value;

use crate::schema::{ObjectType, Type, builtin};
use crate::status::StatusError;
pub use encode::encode_message;
pub(crate) use wire::Writer;

/// First bytes of every body.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// Why bytes are no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    #[error("empty data")]
    Empty,
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoMagic,
    #[error("unexpected EOF")]
    UnexpectedEnd,
    #[error("proto: wrong wireType = {wire_type} for field {field}")]
    WrongWireType { field: String, wire_type: u8 },
    #[error("proto: illegal tag {0}")]
    IllegalTag(u64),
    #[error("proto: integer overflow")]
    Overflow,
    #[error("Object 'Kind' is missing in '{0}'")]
    MissingKind(String),
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind { api_version: String, kind: String },
    #[error("nested deeper than {} levels", super::MAX_DEPTH)]
    TooDeep,
    #[error("field {field}: {why}")]
    Content { field: String, why: String },
}

impl From<ProtobufError> for StatusError {
    fn from(error: ProtobufError) -> Self {
        Self::bad_request(format!("the object provided is unrecognized: {error}"))
    }
}

/// An envelope taken apart; borrows from the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    /// The object's own message.
    pub message: &'a [u8],
}

impl<'a> Envelope<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ProtobufError> {
        if bytes.is_empty() {
            return Err(ProtobufError::Empty);
        }
        decode::envelope(bytes.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?)
    }
}

/// Reads an envelope: apiVersion, kind and the object (with both filled in), normalised as JSON would be.
pub fn decode(bytes: &[u8]) -> Result<(String, String, Value), StatusError> {
    decode_or(bytes, "", "")
}

/// The same with what to take for an apiVersion and kind that the envelope leaves empty.
pub fn decode_or(bytes: &[u8], api_version: &str, kind: &str) -> Result<(String, String, Value), StatusError> {
    let envelope = Envelope::parse(bytes)?;
    let or = |given: &str, default: &str| if given.is_empty() { default.to_owned() } else { given.to_owned() };
    let (api_version, kind) = (or(envelope.api_version, api_version), or(envelope.kind, kind));
    let value = decode::object(&api_version, &kind, envelope.message)?;
    Ok((api_version, kind, value))
}

/// Reads an object's own message, without envelope, apiVersion and kind.
pub fn decode_message(bytes: &[u8], schema: &ObjectType) -> Result<Value, StatusError> {
    Ok(decode::message(bytes, schema)?)
}

/// Writes an envelope; apiVersion and kind come from the object.
pub fn encode(value: &Value, schema: &ObjectType) -> Vec<u8> {
    let text = |field: &str| value[field].as_str().unwrap_or_default();
    envelope_with(text("apiVersion"), text("kind"), |out| encode::object(out, value, schema))
}

/// The message inside an envelope; `None` when `bytes` is no envelope.
pub fn message_of(bytes: &[u8]) -> Option<&[u8]> {
    Envelope::parse(bytes).ok().map(|envelope| envelope.message)
}

/// An envelope around a message.
pub fn envelope(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    envelope_with(api_version, kind, |out| out.raw(message))
}

fn envelope_with(api_version: &str, kind: &str, message: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::default();
    out.raw(MAGIC);
    out.nested(1, |out| {
        out.bytes(1, api_version.as_bytes());
        out.bytes(2, kind.as_bytes());
    });
    out.nested(2, message);
    // Content encoding and content type.
    out.bytes(3, b"");
    out.bytes(4, b"");
    out.into_bytes()
}

/// An envelope around a list, from the items' own messages (see [`message_of`]).
pub fn encode_list<'a>(
    api_version: &str,
    list_kind: &str,
    list_meta: &Value,
    items: impl Iterator<Item = &'a [u8]>,
) -> Vec<u8> {
    envelope_with(api_version, list_kind, |out| {
        if let Some(meta) = builtin().named(LIST_META) {
            out.nested(1, |out| encode::object(out, list_meta, meta.get()));
        }
        items.for_each(|item| out.bytes(2, item));
    })
}

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// One frame of a watch stream (`application/vnd.kubernetes.protobuf;stream=watch`): its length in four bytes,
/// big-endian, then the event. `object` is an envelope.
pub fn encode_watch_event(event_type: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.raw(&[0; 4]);
    out.bytes(1, event_type.as_bytes());
    out.nested(2, |out| out.bytes(1, object));
    let mut frame = out.into_bytes();
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Numbers and booleans, which a sender may pack into one field.
fn is_packable(ty: &Type) -> bool {
    matches!(ty, Type::Bool | Type::Int32 | Type::Int64 | Type::Double)
}

#[cfg(test)]
mod tests;
