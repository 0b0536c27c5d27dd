//! JSON to values, as its declaration reads it, and back.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map as JsonMap, Number, Value as Json};

use super::{List, Map, Result, Text, Value, fail, time};
use crate::decl::{DeclType, Form};

impl<'a> Value<'a> {
    /// A value of JSON that nothing is known about.
    pub fn of(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => number.as_i64().map_or_else(|| Self::Double(double(number)), Self::Int),
            Json::String(text) => Self::String(Text::Borrowed(text)),
            Json::Array(items) => Self::List(List::Json(items, None)),
            Json::Object(map) => Self::Map(Map::Json(map, None)),
        }
    }

    /// A value of JSON as `decl` reads it.
    pub fn read(json: &'a Json, decl: Option<&'a DeclType>) -> Result<Self> {
        let Some(decl) = decl else { return Ok(Self::of(json)) };
        if json.is_null() {
            return match decl.form {
                Form::Dyn | Form::Decoded => Ok(Self::Null),
                _ if decl.nullable => Ok(Self::Null),
                _ => fail("invalid data, got null for schema with nullable=false"),
            };
        }
        match (decl.form, json) {
            (Form::Dyn, _) => Ok(Self::of(json)),
            (Form::Opaque, _) => Ok(Self::Opaque(json)),
            (Form::IntOrString, Json::String(_)) => Ok(Self::of(json)),
            (Form::IntOrString, Json::Number(number)) if number.is_i64() => Ok(Self::of(json)),
            (Form::IntOrString, _) => {
                fail("invalid data, expected XIntOrString value to be either a string or integer")
            }
            (Form::Decoded, Json::Number(number)) => Ok(Self::Double(double(number))),
            (Form::Decoded, Json::Bool(_) | Json::String(_)) => Ok(Self::of(json)),
            (Form::Object | Form::Map | Form::Decoded, Json::Object(map)) => Ok(Self::Map(Map::Json(map, Some(decl)))),
            (Form::Object | Form::Map, _) => {
                fail("invalid data, expected a map for the provided schema with type=object")
            }
            (Form::List | Form::Decoded, Json::Array(items)) => Ok(Self::List(List::Json(items, Some(decl)))),
            (Form::List, _) => fail("invalid data, expected an array for the provided schema with type=array"),
            (Form::Double, Json::Number(number)) => Ok(Self::Double(double(number))),
            (Form::Double, _) => fail(format!("invalid data, expected float, got {}", go_type(json))),
            (Form::Int, Json::Number(number)) if number.is_i64() => Ok(Self::of(json)),
            (Form::Int, _) => fail(format!("invalid data, expected int, got {}", go_type(json))),
            (Form::Bool, Json::Bool(value)) => Ok(Self::Bool(*value)),
            (Form::Bool, _) => fail(format!("invalid data, expected bool, got {}", go_type(json))),
            (form, Json::String(text)) => read_text(text, form),
            _ => fail(format!("invalid data, expected string, got {}", go_type(json))),
        }
    }

    /// A field by its name in JSON, whatever names the expression uses.
    pub fn json_field(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Self::Map(Map::Json(map, decl)) => {
                Value::read(map.get(name)?, decl.and_then(|decl| decl.property(name))).ok()
            }
            Self::Map(map) => map.find_str(name).ok().flatten(),
            _ => None,
        }
    }

    /// The value as JSON, where JSON has such values.
    pub fn to_json(&self) -> Result<Json> {
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Uint(value) => Json::from(*value),
            Self::Double(value) => match Number::from_f64(*value) {
                Some(number) => Json::Number(number),
                None => return fail(format!("{self} has no form in JSON")),
            },
            Self::String(text) => Json::String(text.to_string()),
            Self::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
            Self::Duration(nanos) => Json::String(time::format_duration(*nanos)),
            Self::Timestamp(time) => Json::String(time.to_string()),
            Self::List(List::Json(items, _)) => Json::Array(items.to_vec()),
            Self::List(list) => Json::Array(list.to_vec()?.iter().map(Value::to_json).collect::<Result<_>>()?),
            Self::Map(Map::Json(map, _)) => Json::Object((*map).clone()),
            Self::Map(map) => {
                let entries = map.entries()?;
                let pair = |(key, value): &(Value<'_>, Value<'_>)| match key {
                    Value::String(key) => Ok((key.to_string(), value.to_json()?)),
                    other => fail(format!("a key of JSON is a string, not {}", other.type_name())),
                };
                Json::Object(entries.iter().map(pair).collect::<Result<JsonMap<_, _>>>()?)
            }
            Self::Optional(Some(value)) => value.to_json()?,
            Self::Object(object) => {
                let pair = |(name, value): &(Arc<str>, Value<'_>)| Ok((name.to_string(), value.to_json()?));
                Json::Object(object.fields.iter().map(pair).collect::<Result<JsonMap<_, _>>>()?)
            }
            Self::Quantity(_) | Self::Ip(_) | Self::Cidr(_) => Json::String(self.to_string()),
            Self::Opaque(json) => (*json).clone(),
            other => return fail(format!("{} has no form in JSON", other.type_name())),
        })
    }
}

fn double(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}

fn read_text(text: &str, form: Form) -> Result<Value<'_>> {
    match form {
        Form::Duration => match time::parse_strfmt_duration(text) {
            Some(nanos) => Ok(Value::Duration(nanos)),
            None => fail(format!("Invalid duration {text}: unable to parse {text} as duration")),
        },
        Form::Date => match time::parse_timestamp(&format!("{text}T00:00:00Z")) {
            Ok(time) if text.len() == 10 => Ok(Value::Timestamp(time)),
            _ => fail(format!("Invalid date formatted string {text}")),
        },
        Form::DateTime => match time::parse_timestamp(text) {
            Ok(time) => Ok(Value::Timestamp(time)),
            Err(_) => fail(format!("Invalid date-time formatted string {text}")),
        },
        Form::Bytes => match STANDARD.decode(text) {
            Ok(bytes) => Ok(Value::Bytes(bytes.into())),
            Err(error) => fail(format!("Invalid byte formatted string {text}: {error}")),
        },
        Form::String => Ok(Value::String(Text::Borrowed(text))),
        Form::Double => fail("invalid data, expected float, got string"),
        _ => fail("invalid data, got string"),
    }
}

/// Go's name of what decodes from such JSON, for errors.
fn go_type(json: &Json) -> &'static str {
    match json {
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_i64() => "int64",
        Json::Number(_) => "float64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    }
}
