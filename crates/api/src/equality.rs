//! When two objects mean the same.

use serde_json::{Map, Value};

/// Equal as Go's semantic equality sees decoded objects: absent, null and empty lists are one.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let covered = |x: &Map<String, Value>, y: &Map<String, Value>| {
                x.iter().all(|(field, value)| same(value, y.get(field).unwrap_or(&Value::Null)))
            };
            covered(a, b) && b.iter().all(|(field, value)| a.contains_key(field) || is_nothing(value))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => a == b || is_nothing(a) && is_nothing(b),
    }
}

/// [`same`] for one field of two objects.
pub fn same_field(a: &Value, b: &Value, field: &str) -> bool {
    same(&a[field], &b[field])
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_is_nothing_however_written() {
        for (a, b, equal) in [
            (json!({ "a": 1 }), json!({ "a": 1, "b": null }), true),
            (json!({ "a": 1, "b": [] }), json!({ "a": 1 }), true),
            (json!({ "a": { "b": [] } }), json!({ "a": {} }), true),
            (json!({ "a": {} }), json!({}), false),
            (json!({ "a": 0 }), json!({}), false),
            (json!([1, 2]), json!([2, 1]), false),
            (json!(null), json!([]), true),
        ] {
            assert_eq!(same(&a, &b), equal, "{a} {b}");
            assert_eq!(same(&b, &a), equal, "{b} {a}");
        }
    }
}
