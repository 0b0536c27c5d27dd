//! Values that are no object, list or map: how each type takes what JSON offers.

use serde_json::{Number, Value};

use super::decode::Decoder;
use super::go_types::Expected;
use super::normal::canonical_leaf;
use super::scan::{Scanned, Start};
use crate::schema::Type;

impl<'s> Decoder<'_, 's> {
    pub(super) fn number(&mut self, expected: Expected<'s>) -> Scanned<Value> {
        let text = self.scan.number()?;
        let value = match expected.ty {
            Type::Int32 => text.parse::<i32>().ok().map(Value::from),
            Type::Int64 => text.parse::<i64>().ok().map(Value::from),
            _ => text.parse().ok().and_then(Number::from_f64).map(Value::Number),
        };
        let Some(value) = value else {
            self.type_error(&format!("number {text}"), &expected.go_name());
            return Ok(Value::Null);
        };
        Ok(canonical_leaf(&value, expected.ty).and_then(Result::ok).unwrap_or(value))
    }

    /// A type that reads itself from a string (quantities from a number too).
    pub(super) fn own_reading(&mut self, ty: &Type, start: Start) -> Scanned<Value> {
        let text = match start {
            Start::Number => Value::String(self.scan.number()?.to_owned()),
            _ => Value::String(self.scan.string()?.into_owned()),
        };
        Ok(match canonical_leaf(&text, ty) {
            None => text,
            Some(Ok(canonical)) => canonical,
            Some(Err(why)) => {
                self.fatal = Some(why);
                Value::Null
            }
        })
    }

    pub(super) fn own_error(&mut self, why: String) -> Scanned<Value> {
        self.fatal = Some(why);
        self.scan.skip().map(|_| Value::Null)
    }

    /// The number of an `IntOrString`.
    pub(super) fn own_number(&mut self) -> Scanned<Value> {
        let text = self.scan.number()?;
        if let Ok(number) = text.parse::<i32>() {
            return Ok(number.into());
        }
        self.fatal = Some(self.type_error_text(&format!("number {text}"), "int32"));
        Ok(Value::Null)
    }

    pub(super) fn own_wrong_type(&mut self, start: Start, wanted: &str) -> Scanned<Value> {
        self.own_error(self.type_error_text(start.name(), wanted))
    }

    /// Go reads bytes from a list of numbers too.
    pub(super) fn byte_list(&mut self) -> Scanned<Value> {
        self.scan.open()?;
        let mut bytes = Vec::new();
        let mut first = true;
        while self.scan.next_item(std::mem::take(&mut first))? {
            match self.scan.start()? {
                Start::Null => {
                    self.scan.null()?;
                    bytes.push(0);
                }
                Start::Number => {
                    let text = self.scan.number()?;
                    match text.parse() {
                        Ok(byte) => bytes.push(byte),
                        Err(_) => self.type_error(&format!("number {text}"), "uint8"),
                    }
                }
                other => drop(self.wrong_type(other, "uint8")?),
            }
        }
        Ok(super::base64::encode(&bytes).into())
    }

    /// Wrong base64 is remembered like a type error.
    pub(super) fn bytes(&mut self) -> Scanned<Value> {
        let text = Value::String(self.scan.string()?.into_owned());
        Ok(match canonical_leaf(&text, &Type::Bytes) {
            None => text,
            Some(Ok(canonical)) => canonical,
            Some(Err(why)) => {
                self.type_error.get_or_insert(why);
                Value::Null
            }
        })
    }

    /// The alternatives of a CRD's schema read themselves, and not strictly.
    pub(super) fn schema_or(&mut self, expected: Expected<'s>, start: Start) -> Scanned<Value> {
        let strict = std::mem::replace(&mut self.strict_wanted, false);
        let earlier = self.type_error.take();
        let value = match (expected.ty, start) {
            (Type::SchemaOrBool(s) | Type::SchemaOrArray(s) | Type::SchemaOrStrings(s), Start::Object) => {
                Value::Object(self.object(s.get())?)
            }
            (Type::SchemaOrArray(s), Start::Array) => {
                let mut items = Vec::new();
                self.scan.open()?;
                let mut first = true;
                while self.scan.next_item(std::mem::take(&mut first))? {
                    items.push(match self.scan.start()? {
                        Start::Object => Value::Object(self.object(s.get())?),
                        other => self.wrong_type(other, s.get().go_name())?,
                    });
                }
                Value::Array(items)
            }
            (Type::SchemaOrStrings(_), Start::Array) => {
                let mut items = Vec::new();
                self.scan.open()?;
                let mut first = true;
                while self.scan.next_item(std::mem::take(&mut first))? {
                    items.push(self.value(Expected { ty: &Type::String, go: None })?);
                }
                Value::Array(items)
            }
            (Type::SchemaOrBool(_), _) => self.own_error("boolean or JSON schema expected".to_owned())?,
            _ => self.scan.skip().map(|_| Value::Null)?,
        };
        self.strict_wanted = strict;
        let within = std::mem::replace(&mut self.type_error, earlier);
        self.fatal = self.fatal.take().or(within);
        Ok(match value {
            Value::Array(items) if items.is_empty() => Value::Null,
            value => value,
        })
    }
}
