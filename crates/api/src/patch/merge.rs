//! JSON Merge Patch (RFC 7386), `null` deletes.

use serde_json::{Map, Value};

use crate::status::StatusError;

/// Merges `patch` into `current`. A list in its place replaces the whole object, which then fails to
/// decode; anything else that is no object is 400.
pub fn apply(current: Value, patch: Value) -> Result<Value, StatusError> {
    match patch {
        Value::Object(_) => Ok(merge(current, patch)),
        Value::Array(_) => Ok(without_nulls(patch)),
        _ => Err(StatusError::bad_request("Invalid JSON Patch")),
    }
}

fn merge(current: Value, patch: Value) -> Value {
    match (current, patch) {
        (Value::Object(mut fields), Value::Object(patch)) => {
            merge_fields(&mut fields, patch);
            Value::Object(fields)
        }
        (Value::Object(_), patch) => patch,
        (_, patch) => without_nulls(patch),
    }
}

fn merge_fields(fields: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (field, value) in patch {
        match fields.remove(&field) {
            _ if value.is_null() => {}
            None | Some(Value::Null) => {
                fields.insert(field, without_nulls(value));
            }
            Some(current) => {
                fields.insert(field, merge(current, value));
            }
        }
    }
}

/// Drops null members at any depth; null items of lists stay.
fn without_nulls(mut value: Value) -> Value {
    drop_nulls(&mut value);
    value
}

pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
