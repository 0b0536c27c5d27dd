//! The v2 document in protobuf, as older clients ask for it (`github.com/google/gnostic-models/openapiv2`).
//!
//! A message is a table of fields: the name that JSON gives one, its number, and how its value is written. What
//! begins with `x-` goes to the number for extensions.

use serde_json::Value;

use crate::codec::protobuf::Writer;

/// What requests may call the form, and the last of them what answers do.
pub const CONTENT_TYPES: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

struct Message {
    fields: &'static [(&'static str, u32, Form)],
    extensions: Option<u32>,
}

#[derive(Clone, Copy)]
enum Form {
    Text,
    Texts,
    Flag,
    Whole,
    Float,
    /// A value of any type: YAML within a message.
    Any,
    Anys,
    One(&'static Message),
    Many(&'static Message),
    /// An object by name: a message of entries at this number, each with its name at 1 and its value at 2.
    Named(u32, Entry),
    /// A text or a list of them within a message.
    Types,
    /// A message within one that could hold another, by the number it has there.
    Within(u32, &'static Message),
    SchemaOrFlag,
    Parameters,
    Requirements,
}

/// The value of a named entry.
#[derive(Clone, Copy)]
enum Entry {
    Message(&'static Message),
    /// Within a message that could hold another, by the number it has there.
    Within(u32, &'static Message),
}

use Form::{
    Any, Anys, Flag, Float, Many, Named, One, Parameters, Requirements, SchemaOrFlag, Text, Texts, Types, Whole, Within,
};

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Text),
        ("info", 2, One(&INFO)),
        ("host", 3, Text),
        ("basePath", 4, Text),
        ("schemes", 5, Texts),
        ("consumes", 6, Texts),
        ("produces", 7, Texts),
        ("paths", 8, Named(2, Entry::Message(&PATH))),
        ("definitions", 9, Named(1, Entry::Message(&SCHEMA))),
        ("security", 12, Requirements),
        ("securityDefinitions", 13, Named(1, Entry::Within(2, &API_KEY))),
    ],
    extensions: Some(16),
};

static INFO: Message =
    Message { fields: &[("title", 1, Text), ("version", 2, Text), ("description", 3, Text)], extensions: Some(7) };

static PATH: Message = Message {
    fields: &[
        ("get", 2, One(&OPERATION)),
        ("put", 3, One(&OPERATION)),
        ("post", 4, One(&OPERATION)),
        ("delete", 5, One(&OPERATION)),
        ("options", 6, One(&OPERATION)),
        ("head", 7, One(&OPERATION)),
        ("patch", 8, One(&OPERATION)),
        ("parameters", 9, Parameters),
    ],
    extensions: Some(10),
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Texts),
        ("summary", 2, Text),
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("produces", 6, Texts),
        ("consumes", 7, Texts),
        ("parameters", 8, Parameters),
        ("responses", 9, Named(1, Entry::Within(1, &RESPONSE))),
        ("schemes", 10, Texts),
        ("deprecated", 11, Flag),
    ],
    extensions: Some(13),
};

static RESPONSE: Message =
    Message { fields: &[("description", 1, Text), ("schema", 2, Within(1, &SCHEMA))], extensions: Some(5) };

static API_KEY: Message = Message {
    fields: &[("type", 1, Text), ("name", 2, Text), ("in", 3, Text), ("description", 4, Text)],
    extensions: Some(5),
};

static BODY: Message = Message {
    fields: &[
        ("description", 1, Text),
        ("name", 2, Text),
        ("in", 3, Text),
        ("required", 4, Flag),
        ("schema", 5, One(&SCHEMA)),
    ],
    extensions: Some(6),
};

static QUERY: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 6, Text),
        ("format", 7, Text),
        ("items", 8, One(&ITEMS)),
        ("collectionFormat", 9, Text),
        ("default", 10, Any),
        ("uniqueItems", 20, Flag),
        ("enum", 21, Anys),
    ],
    extensions: Some(23),
};

/// Of a path or a header.
static PLACED: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 5, Text),
        ("format", 6, Text),
        ("items", 7, One(&ITEMS)),
        ("collectionFormat", 8, Text),
        ("default", 9, Any),
        ("uniqueItems", 19, Flag),
        ("enum", 20, Anys),
    ],
    extensions: Some(22),
};

static ITEMS: Message = Message { fields: &[("type", 1, Text), ("format", 2, Text)], extensions: Some(18) };

static REFERENCE: Message = Message { fields: &[("$ref", 1, Text), ("description", 2, Text)], extensions: None };

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Text),
        ("format", 2, Text),
        ("title", 3, Text),
        ("description", 4, Text),
        ("default", 5, Any),
        ("multipleOf", 6, Float),
        ("maximum", 7, Float),
        ("exclusiveMaximum", 8, Flag),
        ("minimum", 9, Float),
        ("exclusiveMinimum", 10, Flag),
        ("maxLength", 11, Whole),
        ("minLength", 12, Whole),
        ("pattern", 13, Text),
        ("maxItems", 14, Whole),
        ("minItems", 15, Whole),
        ("uniqueItems", 16, Flag),
        ("maxProperties", 17, Whole),
        ("minProperties", 18, Whole),
        ("required", 19, Texts),
        ("enum", 20, Anys),
        ("additionalProperties", 21, SchemaOrFlag),
        ("type", 22, Types),
        ("items", 23, Within(1, &SCHEMA)),
        ("allOf", 24, Many(&SCHEMA)),
        ("properties", 25, Named(1, Entry::Message(&SCHEMA))),
        ("readOnly", 27, Flag),
        ("externalDocs", 29, One(&EXTERNAL_DOCS)),
        ("example", 30, Any),
    ],
    extensions: Some(31),
};

static EXTERNAL_DOCS: Message = Message { fields: &[("description", 1, Text), ("url", 2, Text)], extensions: Some(3) };

/// A document of [`super::v2`].
pub fn encode(document: &Value) -> Vec<u8> {
    let mut writer = Writer::default();
    write(&mut writer, document, &DOCUMENT);
    writer.into_bytes()
}

fn write(writer: &mut Writer, object: &Value, message: &Message) {
    for (name, number, form) in message.fields {
        if let Some(value) = object.get(name) {
            write_as(writer, *number, value, *form);
        }
    }
    let Some(number) = message.extensions else { return };
    for (name, value) in object.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-")) {
        writer.nested(number, |named| {
            named.bytes(1, name.as_bytes());
            any(named, 2, value);
        });
    }
}

fn write_as(writer: &mut Writer, number: u32, value: &Value, form: Form) {
    match form {
        Text => writer.bytes(number, text(value)),
        Texts => items(value).for_each(|item| writer.bytes(number, text(item))),
        Flag => writer.number(number, u64::from(value == true)),
        Whole => writer.number(number, value.as_i64().unwrap_or_default() as u64),
        Float => writer.double(number, value.as_f64().unwrap_or_default()),
        Any => any(writer, number, value),
        Anys => items(value).for_each(|item| any(writer, number, item)),
        One(message) => writer.nested(number, |inner| write(inner, value, message)),
        Many(message) => items(value).for_each(|item| writer.nested(number, |inner| write(inner, item, message))),
        Within(at, message) => within(writer, number, at, value, message),
        Types => writer.nested(number, |inner| match value {
            Value::Array(types) => types.iter().for_each(|ty| inner.bytes(1, text(ty))),
            ty => inner.bytes(1, text(ty)),
        }),
        SchemaOrFlag => writer.nested(number, |inner| match value {
            Value::Bool(flag) => inner.number(2, u64::from(*flag)),
            schema => inner.nested(1, |inner| write(inner, schema, &SCHEMA)),
        }),
        Named(at, of) => writer.nested(number, |inner| named(inner, at, value, of)),
        Parameters => items(value).for_each(|item| parameter(writer, number, item)),
        Requirements => items(value).for_each(|item| requirement(writer, number, item)),
    }
}

fn text(value: &Value) -> &[u8] {
    value.as_str().unwrap_or_default().as_bytes()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// JSON is YAML.
fn any(writer: &mut Writer, number: u32, value: &Value) {
    writer.nested(number, |inner| inner.bytes(2, format!("{value}\n").as_bytes()));
}

fn within(writer: &mut Writer, number: u32, at: u32, value: &Value, message: &'static Message) {
    writer.nested(number, |outer| outer.nested(at, |inner| write(inner, value, message)));
}

fn named(writer: &mut Writer, at: u32, object: &Value, of: Entry) {
    for (name, value) in object.as_object().into_iter().flatten() {
        writer.nested(at, |entry| {
            entry.bytes(1, name.as_bytes());
            match of {
                Entry::Message(message) => entry.nested(2, |inner| write(inner, value, message)),
                Entry::Within(at, message) => within(entry, 2, at, value, message),
            }
        });
    }
}

/// Of the body, of the query, or of a path; or where one is described.
fn parameter(writer: &mut Writer, number: u32, parameter: &Value) {
    if parameter.get("$ref").is_some() {
        return within(writer, number, 2, parameter, &REFERENCE);
    }
    writer.nested(number, |item| {
        item.nested(1, |one| match parameter["in"].as_str() {
            Some("body") => one.nested(1, |inner| write(inner, parameter, &BODY)),
            Some("header") => within(one, 2, 1, parameter, &PLACED),
            Some("path") => within(one, 2, 4, parameter, &PLACED),
            _ => within(one, 2, 3, parameter, &QUERY),
        });
    });
}

fn requirement(writer: &mut Writer, number: u32, requirement: &Value) {
    writer.nested(number, |inner| {
        for (name, scopes) in requirement.as_object().into_iter().flatten() {
            inner.nested(1, |entry| {
                entry.bytes(1, name.as_bytes());
                entry.nested(2, |list| items(scopes).for_each(|scope| list.bytes(1, text(scope))));
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_written_field_by_field() {
        let document = json!({
            "swagger": "2.0",
            "definitions": { "A": { "type": "object", "x-b": [1], "additionalProperties": false } },
        });
        let schema = [
            &b"\xaa\x01\x02\x10\x00"[..],                    // additionalProperties: { boolean: false }
            b"\xb2\x01\x08\x0a\x06object",                   // type: { value: object }
            b"\xfa\x01\x0d\x0a\x03x-b\x12\x06\x12\x04[1]\n", // vendorExtension: { name, value: { yaml } }
        ]
        .concat();
        let entry = [&[0x0a, 1, b'A', 0x12, schema.len() as u8][..], &schema].concat();
        let definitions = [&[0x0a, entry.len() as u8][..], &entry].concat();
        let whole = [&b"\x0a\x032.0"[..], &[0x4a, definitions.len() as u8], &definitions].concat();
        assert_eq!(encode(&document), whole);
    }
}
