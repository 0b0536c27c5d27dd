//! The forms an object takes on the wire, all driven by the field table.

pub mod cbor;
pub mod json;
pub mod protobuf;
pub mod yaml;

use serde_json::Value;

/// Objects nested deeper are refused. Real ones stay under 50 (CRD schemas are the deepest). Stored objects are
/// read again by `serde_json`, which stops at 127, in lists and watch events that wrap them in up to three levels.
pub const MAX_DEPTH: usize = 120;

/// How deeply lists and objects nest in a value.
fn depth(value: &Value) -> usize {
    let below = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(map) => map.values().map(depth).max(),
        _ => return 0,
    };
    1 + below.unwrap_or_default()
}
