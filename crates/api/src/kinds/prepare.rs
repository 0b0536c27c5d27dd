//! Pieces of `prepare_*` hooks that several kinds share.

use serde_json::{Map, Value};

/// The object at a dotted path for writing, if it and its parents are there.
pub fn object_mut<'a>(obj: &'a mut Value, path: &str) -> Option<&'a mut Map<String, Value>> {
    path.split('.').try_fold(obj, |value, field| value.get_mut(field))?.as_object_mut()
}

/// The list at a dotted path for writing, empty when there is none.
pub fn list_mut<'a>(obj: &'a mut Value, path: &str) -> &'a mut [Value] {
    path.split('.')
        .try_fold(obj, |value, field| value.get_mut(field))
        .and_then(Value::as_array_mut)
        .map_or(&mut [], Vec::as_mut_slice)
}

/// Sets the field at a dotted path, making its parents objects.
pub fn set(obj: &mut Value, path: &str, value: impl Into<Value>) {
    let mut at = obj;
    for field in path.split('.') {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[field];
    }
    *at = value.into();
}

/// Sets one key (dots and all) of the map at a dotted path.
pub fn set_in(obj: &mut Value, path: &str, key: &str, value: impl Into<Value>) {
    if object_mut(obj, path).is_none() {
        set(obj, path, Map::new());
    }
    if let Some(map) = object_mut(obj, path) {
        map.insert(key.to_owned(), value.into());
    }
}

/// Removes the field at a dotted path.
pub fn remove(obj: &mut Value, path: &str) {
    crate::kind::keep_old_at(obj, &Value::Null, path);
}

/// Appends a condition under `status.conditions` of an object whose status the hooks just made.
pub fn push_condition(obj: &mut Value, condition: Value) {
    let mut conditions = obj["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.push(condition);
    set(obj, "status.conditions", conditions);
}

/// `metav1.Time` of now, for the few fields upstream stamps in a strategy.
pub fn now() -> Value {
    orlop_base::clock::rfc3339().into()
}
