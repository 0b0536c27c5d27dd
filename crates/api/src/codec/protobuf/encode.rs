//! JSON values to messages.

use serde_json::{Map, Value};

use super::wire::Writer;
use crate::codec::json::base64;
use crate::schema::{Field, ObjectType, Type};
use crate::time::Precision;
use crate::{duration, time};

/// The object's own message, without envelope.
pub fn encode_message(value: &Value, schema: &ObjectType) -> Vec<u8> {
    let mut out = Writer::default();
    object(&mut out, value, schema);
    out.into_bytes()
}

/// Writes the fields of an object; what is no object counts as an empty one.
pub fn object(out: &mut Writer, value: &Value, schema: &ObjectType) {
    let empty = Map::new();
    fields(out, value.as_object().unwrap_or(&empty), schema);
}

fn fields(out: &mut Writer, map: &Map<String, Value>, schema: &ObjectType) {
    for field in schema.by_tag() {
        match &field.ty {
            // The nested message of inlined fields is written from the same object.
            Type::Object(nested) if field.inline => out.nested(field.tag, |out| fields(out, map, nested.get())),
            _ => self::field(out, field, map.get(&field.json).filter(|v| !v.is_null())),
        }
    }
}

/// Writes a field that is there, or must be there.
fn field(out: &mut Writer, field: &Field, value: Option<&Value>) {
    match (&field.ty, value) {
        (Type::List(list), Some(Value::Array(items))) if list.wrapped => wrapped(out, field.tag, &list.item, items),
        (Type::List(list), Some(Value::Array(items))) => {
            for item in items {
                self::value(out, field.tag, &list.item, item);
            }
        }
        (Type::Map(map), Some(Value::Object(entries))) => {
            for (key, entry) in entries {
                out.nested(field.tag, |out| {
                    out.bytes(1, key.as_bytes());
                    self::value(out, 2, &map.value, entry);
                });
            }
        }
        (ty, Some(value)) => self::value(out, field.tag, ty, value),
        (ty, None) if !field.pointer => self::value(out, field.tag, ty, &Value::Null),
        (_, None) => {}
    }
}

fn value(out: &mut Writer, tag: u32, ty: &Type, value: &Value) {
    let text = || value.as_str().unwrap_or_default();
    match ty {
        Type::Bool => out.number(tag, u64::from(value.as_bool().unwrap_or_default())),
        Type::Int32 | Type::Int64 => out.number(tag, value.as_i64().unwrap_or_default() as u64),
        Type::Double => out.double(tag, value.as_f64().unwrap_or_default()),
        Type::String => out.bytes(tag, text().as_bytes()),
        Type::Bytes => out.bytes(tag, &base64::decode(text()).unwrap_or_default()),
        Type::Quantity => {
            let quantity = if value.is_string() { text() } else { "0" };
            out.nested(tag, |out| out.bytes(1, quantity.as_bytes()));
        }
        Type::IntOrString => out.nested(tag, |out| {
            out.number(1, u64::from(value.is_string()));
            out.number(2, value.as_i64().unwrap_or_default() as u64);
            out.bytes(3, text().as_bytes());
        }),
        Type::Time => moment(out, tag, text(), Precision::Seconds),
        Type::MicroTime => moment(out, tag, text(), Precision::Micros),
        Type::Duration => {
            let nanos = duration::parse(text()).unwrap_or_default();
            out.nested(tag, |out| out.number(1, nanos as u64));
        }
        Type::RawExtension | Type::FieldsV1 | Type::Json => out.nested(tag, |out| {
            if !value.is_null() {
                out.bytes(1, &crate::codec::json::encode(value));
            }
        }),
        Type::List(list) => wrapped(out, tag, &list.item, value.as_array().map_or(&[], Vec::as_slice)),
        Type::Object(object) => out.nested(tag, |out| self::object(out, value, object.get())),
        Type::SchemaOrBool(schema) => out.nested(tag, |out| {
            out.number(1, u64::from(value.as_bool().unwrap_or(value.is_object())));
            if value.is_object() {
                out.nested(2, |out| object(out, value, schema.get()));
            }
        }),
        Type::SchemaOrArray(schema) | Type::SchemaOrStrings(schema) => out.nested(tag, |out| {
            if value.is_object() {
                out.nested(1, |out| object(out, value, schema.get()));
            }
            for item in value.as_array().into_iter().flatten() {
                match item {
                    Value::String(name) => out.bytes(2, name.as_bytes()),
                    item => out.nested(2, |out| object(out, item, schema.get())),
                }
            }
        }),
        // No type nests a map in a list or map.
        Type::Map(_) => {}
    }
}

/// `{ repeated items = 1 }`
fn wrapped(out: &mut Writer, tag: u32, item: &Type, items: &[Value]) {
    out.nested(tag, |out| items.iter().for_each(|i| value(out, 1, item, i)));
}

/// `{1: seconds, 2: nanos}`; an unset time is an empty message.
fn moment(out: &mut Writer, tag: u32, text: &str, precision: Precision) {
    let moment = time::parse(text, precision).ok();
    out.nested(tag, |out| {
        if let Some(moment) = moment {
            let nanos = if precision == Precision::Micros { moment.nanos / 1000 * 1000 } else { 0 };
            out.number(1, moment.seconds as u64);
            out.number(2, nanos.into());
        }
    });
}
