//! What a round trip through upstream's Go types does to an object.

use serde_json::{Map, Number, Value};

use super::base64;
use crate::quantity::Quantity;
use crate::quote::quote;
use crate::schema::{Field, ObjectType, Type};
use crate::time::Precision;
use crate::{duration, time};

/// Brings an object to the form upstream would write it in: nulls and empty optional values vanish, mandatory
/// zero values appear (`status: {}`, `resources: {}`), quantities, times and durations are canonical. Empty lists and
/// maps that count stay until the object is stored; see [`settle`].
///
/// Total: what does not fit its type stays as it is. Unknown fields stay too; see [`prune`].
pub fn normalise(value: &mut Value, schema: &ObjectType) {
    normalise_object(value, schema, false);
}

/// `empty_counts`: every list and map in it does.
fn normalise_object(value: &mut Value, schema: &ObjectType, empty_counts: bool) {
    let Value::Object(map) = value else { return };
    map.retain(|name, value| {
        let Some(field) = schema.field(name) else { return true };
        let empty_counts = empty_counts || field.empty_counts_below;
        normalise_as(value, &field.ty, empty_counts);
        keeps(field, value, empty_counts)
    });
    fill(map, schema);
}

fn normalise_as(value: &mut Value, ty: &Type, empty_counts: bool) {
    match (ty, &mut *value) {
        (Type::List(list), Value::Array(items)) => items.iter_mut().for_each(|item| {
            unset_to_zero(item, &list.item);
            normalise_as(item, &list.item, empty_counts);
        }),
        (Type::Map(map), Value::Object(entries)) => entries.values_mut().for_each(|entry| {
            unset_to_zero(entry, &map.value);
            normalise_as(entry, &map.value, empty_counts);
        }),
        (
            Type::Object(s) | Type::SchemaOrBool(s) | Type::SchemaOrArray(s) | Type::SchemaOrStrings(s),
            Value::Object(_),
        ) => normalise_object(value, s.get(), empty_counts),
        (Type::SchemaOrArray(s), Value::Array(items)) => {
            items.iter_mut().for_each(|item| normalise_object(item, s.get(), empty_counts));
        }
        _ => {
            if let Some(Ok(canonical)) = canonical_leaf(value, ty) {
                *value = canonical;
            }
        }
    }
}

/// A null item or entry is the zero value of its type.
fn unset_to_zero(value: &mut Value, ty: &Type) {
    if value.is_null() {
        *value = zero(ty);
    }
}

/// What storing makes of a decoded object: an empty list or map is as none, or, where Go writes it all the same, null
/// once it went through protobuf.
pub fn settle(value: &mut Value, schema: &ObjectType, through_protobuf: bool) {
    let Value::Object(map) = value else { return };
    map.retain(|name, value| {
        let Some(field) = schema.field(name) else { return true };
        if is_empty_of(value, &field.ty) {
            if through_protobuf {
                *value = Value::Null;
            }
            return !field.omit_empty;
        }
        settle_as(value, &field.ty, through_protobuf);
        true
    });
}

fn settle_as(value: &mut Value, ty: &Type, through_protobuf: bool) {
    match (ty, value) {
        (Type::Object(s) | Type::SchemaOrBool(s) | Type::SchemaOrArray(s) | Type::SchemaOrStrings(s), value)
            if value.is_object() =>
        {
            settle(value, s.get(), through_protobuf);
        }
        (Type::List(list), Value::Array(items)) => {
            items.iter_mut().for_each(|item| settle_as(item, &list.item, through_protobuf));
        }
        (Type::Map(map), Value::Object(entries)) => {
            entries.values_mut().for_each(|entry| settle_as(entry, &map.value, through_protobuf));
        }
        (Type::SchemaOrArray(s), Value::Array(items)) => {
            items.iter_mut().for_each(|item| settle(item, s.get(), through_protobuf));
        }
        _ => {}
    }
}

/// Whether a value is a list or map of its type without anything in it. An empty schema is none.
fn is_empty_of(value: &Value, ty: &Type) -> bool {
    match (ty, value) {
        (Type::List(_) | Type::SchemaOrArray(_), Value::Array(items)) => items.is_empty(),
        (Type::Map(_), Value::Object(entries)) => entries.is_empty(),
        _ => false,
    }
}

/// Removes fields the schema does not know, and names each as strict decoding would (`unknown field "spec.x"`).
pub fn prune(value: &mut Value, schema: &ObjectType) -> Vec<String> {
    let mut unknown = Vec::new();
    prune_object(value, schema, "", &mut unknown);
    unknown
}

fn prune_object(value: &mut Value, schema: &ObjectType, path: &str, unknown: &mut Vec<String>) {
    let Value::Object(map) = value else { return };
    map.retain(|name, value| {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match schema.field(name) {
            Some(field) => prune_as(value, &field.ty, &path, unknown),
            None if schema.preserve_unknown => {}
            None => {
                unknown.push(format!("unknown field {}", quote(&path)));
                return false;
            }
        }
        true
    });
}

fn prune_as(value: &mut Value, ty: &Type, path: &str, unknown: &mut Vec<String>) {
    match (ty, value) {
        (Type::Object(object), value) => prune_object(value, object.get(), path, unknown),
        (Type::List(list), Value::Array(items)) => {
            for (i, item) in items.iter_mut().enumerate() {
                prune_as(item, &list.item, &format!("{path}[{i}]"), unknown);
            }
        }
        (Type::Map(map), Value::Object(entries)) => {
            for (key, entry) in entries {
                prune_as(entry, &map.value, &format!("{path}.{key}"), unknown);
            }
        }
        _ => {}
    }
}

/// Whether Go would write this value of the field, or tell it from none. `empty_counts`: as it does all around.
pub fn keeps(field: &Field, value: &Value, empty_counts: bool) -> bool {
    match (&field.ty, value) {
        (_, Value::Null) => is_always_written(field),
        (ty, empty) if is_empty_of(empty, ty) => !field.omit_empty || field.empty_counts || empty_counts,
        (Type::Bytes, Value::String(text)) => !(field.omit_empty && text.is_empty()),
        _ if field.pointer || !field.omit_empty => true,
        (_, Value::Bool(b)) => *b,
        (_, Value::Number(n)) => n.as_f64() != Some(0.0),
        (Type::String, Value::String(text)) => !text.is_empty(),
        _ => true,
    }
}

/// Adds the zero value of every absent field that Go always writes.
pub fn fill(map: &mut Map<String, Value>, schema: &ObjectType) {
    for field in &schema.fields {
        let is_null = is_always_written(field);
        if !is_null && (field.pointer || field.omit_empty) || map.contains_key(&field.json) {
            continue;
        }
        let value = if is_null { Value::Null } else { zero(&field.ty) };
        if is_null || !value.is_null() {
            map.insert(field.json.clone(), value);
        }
    }
}

/// Whether an unset value is written as null: a time that is no pointer, being a struct, is never empty to Go's
/// `omitempty` (`creationTimestamp` alone says `omitzero`), and a pointer, list or map without it is nil.
fn is_always_written(field: &Field) -> bool {
    match field.ty {
        Type::Time | Type::MicroTime if !field.pointer => field.json != "creationTimestamp",
        _ => field.pointer && !field.omit_empty,
    }
}

/// What Go writes for an unset value of a type; null where that stands for absent.
pub fn zero(ty: &Type) -> Value {
    match ty {
        Type::Bool => false.into(),
        Type::Int32 | Type::Int64 | Type::Double | Type::IntOrString => 0.into(),
        Type::String | Type::Bytes => "".into(),
        Type::List(_) => Value::Array(Vec::new()),
        Type::Map(_) => Value::Object(Map::new()),
        Type::Quantity => "0".into(),
        Type::Duration => "0s".into(),
        Type::Object(object) => {
            let mut map = Map::new();
            fill(&mut map, object.get());
            Value::Object(map)
        }
        _ => Value::Null,
    }
}

/// The canonical form of a value that its type writes in its own way: `None` when it is that already,
/// an error in Go's words when it cannot be read.
pub fn canonical_leaf(value: &Value, ty: &Type) -> Option<Result<Value, String>> {
    let text = value.as_str();
    match ty {
        Type::Quantity => canonical_quantity(value),
        Type::Time => canonical_text(text?, |t| time::normalise(t, Precision::Seconds)),
        Type::MicroTime => canonical_text(text?, |t| time::normalise(t, Precision::Micros)),
        Type::Duration => canonical_text(text?, |t| duration::parse(t).map(|n| Some(duration::format(n)))),
        Type::Bytes => canonical_text(text?, |t| base64::decode(t).map(|bytes| Some(base64::encode(&bytes)))),
        Type::Double => {
            let whole = value.as_f64().filter(|f| value.is_f64() && f.fract() == 0.0 && f.abs() < 9e15)?;
            Some(Ok((whole as i64).into()))
        }
        _ => None,
    }
}

fn canonical_quantity(value: &Value) -> Option<Result<Value, String>> {
    let text = match value {
        Value::String(text) => text.trim(),
        Value::Number(number) => &plain_number(number),
        _ => return None,
    };
    match Quantity::parse(text) {
        Ok(quantity) => {
            let canonical = quantity.to_string();
            (value.as_str() != Some(&canonical)).then(|| Ok(canonical.into()))
        }
        Err(error) => Some(Err(error.to_string())),
    }
}

fn plain_number(number: &Number) -> String {
    number.to_string()
}

/// `None` from `canonical` is an unset value.
fn canonical_text<E: ToString>(
    text: &str,
    canonical: impl Fn(&str) -> Result<Option<String>, E>,
) -> Option<Result<Value, String>> {
    match canonical(text) {
        Ok(Some(canonical)) if canonical == text => None,
        Ok(Some(canonical)) => Some(Ok(canonical.into())),
        Ok(None) => Some(Ok(Value::Null)),
        Err(error) => Some(Err(error.to_string())),
    }
}
