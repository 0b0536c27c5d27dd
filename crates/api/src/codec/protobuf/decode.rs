//! Messages to JSON values.

use serde_json::{Map, Number, Value};

use super::wire::{Payload, Reader};
use super::{Envelope, MAGIC, ProtobufError, is_packable};
use crate::codec::MAX_DEPTH;
use crate::codec::json::normal::{canonical_leaf, fill, keeps, zero};
use crate::codec::json::{FieldValidation, base64};
use crate::schema::{Field, ObjectType, Type, builtin};
use crate::time::{Moment, Precision};
use crate::{codec, duration, time};

type Decoded<T> = Result<T, ProtobufError>;

/// `runtime.Unknown {1: TypeMeta {1: apiVersion, 2: kind}, 2: raw, …}`
pub fn envelope(bytes: &[u8]) -> Decoded<Envelope<'_>> {
    let mut envelope = Envelope::default();
    let mut fields = Reader::new(bytes);
    while let Some((tag, payload)) = fields.next()? {
        match tag {
            1 => {
                let mut type_meta = Reader::new(payload.bytes("typeMeta")?);
                while let Some((tag, payload)) = type_meta.next()? {
                    match tag {
                        1 => envelope.api_version = text(payload.bytes("apiVersion")?, "apiVersion")?,
                        2 => envelope.kind = text(payload.bytes("kind")?, "kind")?,
                        _ => {}
                    }
                }
            }
            2 => envelope.message = payload.bytes("raw")?,
            _ => {}
        }
    }
    Ok(envelope)
}

/// An object of a built-in kind, apiVersion and kind filled in.
pub fn object(api_version: &str, kind: &str, bytes: &[u8]) -> Decoded<Value> {
    object_at(api_version, kind, bytes, 0)
}

fn object_at(api_version: &str, kind: &str, bytes: &[u8], depth: usize) -> Decoded<Value> {
    if kind.is_empty() {
        return Err(ProtobufError::MissingKind(format!("{{APIVersion:{api_version:?}}}")));
    }
    let schema = builtin()
        .of(api_version, kind)
        .ok_or_else(|| ProtobufError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() })?;
    let mut map = Map::new();
    map.insert("apiVersion".to_owned(), api_version.into());
    map.insert("kind".to_owned(), kind.into());
    Decoder { depth }.complete(bytes, schema.get(), &mut map)?;
    bounded(Value::Object(map))
}

/// A message may stand for two levels of JSON (an entry of a map), so the result is measured once more.
fn bounded(value: Value) -> Decoded<Value> {
    if codec::depth(&value) > MAX_DEPTH { Err(ProtobufError::TooDeep) } else { Ok(value) }
}

/// A message of a known type.
pub fn message(bytes: &[u8], schema: &ObjectType) -> Decoded<Value> {
    let mut map = Map::new();
    Decoder { depth: 0 }.complete(bytes, schema, &mut map)?;
    bounded(Value::Object(map))
}

struct Decoder {
    depth: usize,
}

impl Decoder {
    /// Reads a whole message and brings it to the form JSON has.
    fn complete(&mut self, bytes: &[u8], schema: &ObjectType, map: &mut Map<String, Value>) -> Decoded<()> {
        self.merge(bytes, schema, map)?;
        map.retain(|name, value| schema.field(name).is_none_or(|field| keeps(field, value, false)));
        fill(map, schema);
        Ok(())
    }

    /// Reads fields into `map`; those of inlined messages land in the same map.
    fn merge(&mut self, bytes: &[u8], schema: &ObjectType, map: &mut Map<String, Value>) -> Decoded<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ProtobufError::TooDeep);
        }
        let mut fields = Reader::new(bytes);
        while let Some((tag, payload)) = fields.next()? {
            let Some(field) = schema.tagged(tag) else { continue };
            match &field.ty {
                Type::Object(nested) if field.inline => self.merge(payload.bytes("inline")?, nested.get(), map)?,
                _ => self.field(field, &payload, map)?,
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn field(&mut self, field: &Field, payload: &Payload<'_>, map: &mut Map<String, Value>) -> Decoded<()> {
        let name = &field.json;
        match &field.ty {
            Type::List(list) if list.wrapped => {
                let items = self.wrapped(payload.bytes(name)?, &list.item, name)?;
                map.insert(name.clone(), items);
            }
            Type::List(list) => {
                let entry = map.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(items) = entry else { return Ok(()) };
                match payload {
                    Payload::Bytes(bytes) if is_packable(&list.item) => {
                        for packed in Reader::new(bytes).packed(matches!(list.item, Type::Double))? {
                            items.push(self.value(&list.item, &packed, name)?);
                        }
                    }
                    _ => items.push(self.value(&list.item, payload, name)?),
                }
            }
            Type::Map(entries) => {
                let (key, value) = self.entry(payload.bytes(name)?, &entries.value, name)?;
                let entry = map.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(entries) = entry {
                    entries.insert(key, value);
                }
            }
            ty => {
                let value = self.value(ty, payload, name)?;
                map.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    fn value(&mut self, ty: &Type, payload: &Payload<'_>, name: &str) -> Decoded<Value> {
        match ty {
            Type::Object(object) => self.object(payload.bytes(name)?, object.get()),
            Type::List(list) => self.wrapped(payload.bytes(name)?, &list.item, name),
            Type::SchemaOrBool(schema) => self.schema_or_bool(payload.bytes(name)?, schema.get()),
            Type::SchemaOrArray(schema) => self.schema_or_list(payload.bytes(name)?, schema.get(), Some(schema.get())),
            Type::SchemaOrStrings(schema) => self.schema_or_list(payload.bytes(name)?, schema.get(), None),
            Type::RawExtension | Type::FieldsV1 | Type::Json => self.raw(payload.bytes(name)?, name),
            leaf => scalar(leaf, payload, name),
        }
    }

    fn object(&mut self, bytes: &[u8], schema: &ObjectType) -> Decoded<Value> {
        let mut map = Map::new();
        self.complete(bytes, schema, &mut map)?;
        Ok(Value::Object(map))
    }

    /// `{ repeated items = 1 }`
    fn wrapped(&mut self, bytes: &[u8], item: &Type, name: &str) -> Decoded<Value> {
        let mut items = Vec::new();
        let mut fields = Reader::new(bytes);
        while let Some((tag, payload)) = fields.next()? {
            if tag == 1 {
                items.push(self.value(item, &payload, name)?);
            }
        }
        Ok(Value::Array(items))
    }

    /// `{1: key, 2: value}`; either may be left out.
    fn entry(&mut self, bytes: &[u8], ty: &Type, name: &str) -> Decoded<(String, Value)> {
        let (mut key, mut value) = (String::new(), zero(ty));
        let mut fields = Reader::new(bytes);
        while let Some((tag, payload)) = fields.next()? {
            match tag {
                1 => text(payload.bytes(name)?, name)?.clone_into(&mut key),
                2 => value = self.value(ty, &payload, name)?,
                _ => {}
            }
        }
        Ok((key, value))
    }

    /// `{1: raw}`: JSON text, or an envelope again.
    fn raw(&mut self, bytes: &[u8], name: &str) -> Decoded<Value> {
        let Some(raw) = only(bytes, 1)?.filter(|raw| !raw.is_empty()) else { return Ok(Value::Null) };
        if let Some(inner) = raw.strip_prefix(MAGIC) {
            let envelope = envelope(inner)?;
            return object_at(envelope.api_version, envelope.kind, envelope.message, self.depth);
        }
        let decoded = codec::json::decode(raw, None, FieldValidation::Ignore);
        decoded.map(|(value, _)| value).map_err(|e| content(name, e.message))
    }

    fn schema_or_bool(&mut self, bytes: &[u8], schema: &ObjectType) -> Decoded<Value> {
        let mut value = Value::Bool(false);
        let mut fields = Reader::new(bytes);
        while let Some((tag, payload)) = fields.next()? {
            match tag {
                1 if value.is_boolean() => value = (payload.varint("allows")? != 0).into(),
                2 => value = self.object(payload.bytes("schema")?, schema)?,
                _ => {}
            }
        }
        Ok(value)
    }

    /// `{1: schema, 2: repeated schema or string}`
    fn schema_or_list(&mut self, bytes: &[u8], schema: &ObjectType, items_are: Option<&ObjectType>) -> Decoded<Value> {
        let (mut one, mut many) = (Value::Null, Vec::new());
        let mut fields = Reader::new(bytes);
        while let Some((tag, payload)) = fields.next()? {
            let bytes = payload.bytes("schema")?;
            match (tag, items_are) {
                (1, _) => one = self.object(bytes, schema)?,
                (2, Some(schema)) => many.push(self.object(bytes, schema)?),
                (2, None) => many.push(text(bytes, "property")?.into()),
                _ => {}
            }
        }
        Ok(if many.is_empty() { one } else { Value::Array(many) })
    }
}

/// A value that nests no other.
fn scalar(ty: &Type, payload: &Payload<'_>, name: &str) -> Decoded<Value> {
    Ok(match ty {
        Type::Bool => (payload.varint(name)? != 0).into(),
        Type::Int32 => (payload.varint(name)? as i32).into(),
        Type::Int64 => (payload.varint(name)? as i64).into(),
        Type::Double => {
            let number = Number::from_f64(payload.double(name)?).map_or(Value::Null, Value::Number);
            canonical(number, ty, name)?
        }
        Type::String => text(payload.bytes(name)?, name)?.into(),
        Type::Bytes => base64::encode(payload.bytes(name)?).into(),
        Type::Quantity => {
            let quantity = only(payload.bytes(name)?, 1)?.unwrap_or_default();
            canonical(text(quantity, name)?.into(), ty, name)?
        }
        Type::IntOrString => int_or_string(payload.bytes(name)?, name)?,
        Type::Time => moment(payload.bytes(name)?, Precision::Seconds, name)?,
        Type::MicroTime => moment(payload.bytes(name)?, Precision::Micros, name)?,
        Type::Duration => duration::format(timestamp(payload.bytes(name)?)?.0).into(),
        // No type nests a map in a list or map.
        _ => Value::Null,
    })
}

fn text<'a>(bytes: &'a [u8], field: &str) -> Decoded<&'a str> {
    std::str::from_utf8(bytes).map_err(|_| content(field, "invalid UTF-8".to_owned()))
}

fn content(field: &str, why: String) -> ProtobufError {
    ProtobufError::Content { field: field.to_owned(), why }
}

fn canonical(value: Value, ty: &Type, name: &str) -> Decoded<Value> {
    match canonical_leaf(&value, ty) {
        None => Ok(value),
        Some(canonical) => canonical.map_err(|why| content(name, why)),
    }
}

/// The last bytes field with this tag.
fn only(bytes: &[u8], wanted: u32) -> Decoded<Option<&[u8]>> {
    let mut found = None;
    let mut fields = Reader::new(bytes);
    while let Some((tag, payload)) = fields.next()? {
        if tag == wanted {
            found = Some(payload.bytes("raw")?);
        }
    }
    Ok(found)
}

/// `{1: type (0 number, 1 text), 2: number, 3: text}`
fn int_or_string(bytes: &[u8], name: &str) -> Decoded<Value> {
    let (mut is_text, mut number, mut word) = (false, 0, "");
    let mut fields = Reader::new(bytes);
    while let Some((tag, payload)) = fields.next()? {
        match tag {
            1 => is_text = payload.varint(name)? == 1,
            2 => number = payload.varint(name)? as i32,
            3 => word = text(payload.bytes(name)?, name)?,
            _ => {}
        }
    }
    Ok(if is_text { word.into() } else { number.into() })
}

/// `{1: seconds, 2: nanos}`, also `{1: nanos}` of a duration.
fn timestamp(bytes: &[u8]) -> Decoded<(i64, i64)> {
    let (mut first, mut second) = (0, 0);
    let mut fields = Reader::new(bytes);
    while let Some((tag, payload)) = fields.next()? {
        match tag {
            1 => first = payload.varint("seconds")? as i64,
            2 => second = payload.varint("nanos")? as i64,
            _ => {}
        }
    }
    Ok((first, second))
}

/// An empty message is an unset time.
fn moment(bytes: &[u8], precision: Precision, name: &str) -> Decoded<Value> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (seconds, nanos) = timestamp(bytes)?;
    let nanos = u32::try_from(nanos).ok().filter(|n| *n < 1_000_000_000).unwrap_or_default();
    let text = time::format(Moment { seconds, nanos }, precision);
    text.map(Value::from).ok_or_else(|| content(name, format!("the year of {seconds} s is out of range")))
}
