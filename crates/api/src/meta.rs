//! Reading and writing `metadata` of a dynamic object.

use serde_json::{Map, Value};

/// A string under `metadata`, empty when absent.
pub fn get<'a>(obj: &'a Value, field: &str) -> &'a str {
    obj["metadata"][field].as_str().unwrap_or_default()
}

pub fn name(obj: &Value) -> &str {
    get(obj, "name")
}

pub fn namespace(obj: &Value) -> &str {
    get(obj, "namespace")
}

pub fn uid(obj: &Value) -> &str {
    get(obj, "uid")
}

pub fn resource_version(obj: &Value) -> &str {
    get(obj, "resourceVersion")
}

pub fn is_terminating(obj: &Value) -> bool {
    obj["metadata"]["deletionTimestamp"].is_string()
}

/// `metadata` for writing; made when absent. A non-object `obj` is replaced.
pub fn metadata_mut(obj: &mut Value) -> &mut Map<String, Value> {
    child_mut(obj, "metadata")
}

/// An object-valued child for writing; made when absent or of another type.
pub fn child_mut<'a>(obj: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if !obj.is_object() {
        *obj = Value::Object(Map::new());
    }
    let Value::Object(map) = obj else { unreachable!("made an object above") };
    let child = map.entry(field).or_insert_with(|| Value::Object(Map::new()));
    if !child.is_object() {
        *child = Value::Object(Map::new());
    }
    let Value::Object(child) = child else { unreachable!("made an object above") };
    child
}

/// A list-valued child for writing; made when absent or of another type.
pub fn child_mut_list<'a>(obj: &'a mut Value, field: &str) -> &'a mut Vec<Value> {
    if !obj.is_object() {
        *obj = Value::Object(Map::new());
    }
    let child = &mut obj[field];
    if !child.is_array() {
        *child = Value::Array(Vec::new());
    }
    let Value::Array(list) = child else { unreachable!("made a list above") };
    list
}

pub fn set(obj: &mut Value, field: &str, value: impl Into<Value>) {
    metadata_mut(obj).insert(field.to_owned(), value.into());
}

pub fn remove(obj: &mut Value, field: &str) {
    if let Some(Value::Object(metadata)) = obj.get_mut("metadata") {
        metadata.remove(field);
    }
}
