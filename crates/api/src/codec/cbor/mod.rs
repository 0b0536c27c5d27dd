//! CBOR as upstream has it (KEP 4222): what JSON can say, in fewer bytes.
//!
//! Every object stands in the tag "self-described CBOR". Strings and keys are byte strings, as Go's are; bytes that
//! JSON has as base64 are byte strings whose tag tells of it. Keys stand shortest first, numbers take as little room as
//! they can: equal objects are equal bytes. More is read than written: text strings, lengths that come at the end, tags.
//! What is read is made JSON first, and decoded as that.

mod head;
mod read;
mod write;

use serde_json::Value;

use crate::codec::json::{self, FieldValidation, Origin};
use crate::schema::ObjectType;
use crate::status::StatusError;
pub use write::{encode, encode_list, encode_watch_event};

/// The tag that every object stands in: its three bytes are how CBOR is known.
pub const SELF_DESCRIBED: &[u8; 3] = &[0xd9, 0xd9, 0xf7];

/// Reads one object as [`json::decode`] does from JSON; `kind` is what it should be, empty where that is open. A key that
/// stands twice is never let through.
pub fn decode(
    bytes: &[u8],
    schema: Option<&ObjectType>,
    kind: &str,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), StatusError> {
    let unreadable = |why: String| {
        let why = format!("unable to determine group/version/kind: {why}");
        StatusError::bad_request(if kind.is_empty() { why } else { json::unrecognized(kind, &why, bytes) })
    };
    let read = read::document(bytes, read::Root::Object).map_err(unreadable)?;
    match read.wrong {
        Some(wrong) if wrong.of_root => Err(unreadable(wrong.why)),
        Some(wrong) => {
            let value = serde_json::from_slice(&read.json).unwrap_or_default();
            Err(json::misfit(&value, schema, wrong.why))
        }
        None => json::decode_from(Origin::Cbor { strings: read.strings }, &read.json, schema, validation, Vec::new()),
    }
}

/// Reads any object; else why it is none, in upstream's words.
pub fn from_cbor(bytes: &[u8]) -> Result<Value, String> {
    let read = read::document(bytes, read::Root::Any)?;
    if let Some(wrong) = read.wrong {
        return Err(wrong.why);
    }
    json::any(Origin::Cbor { strings: read.strings }, &read.json)
}

#[cfg(test)]
mod tests;
