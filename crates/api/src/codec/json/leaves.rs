//! Values that are no object, list or map: how each type takes what JSON offers.

use serde_json::{Number, Value};

use super::decode::Decoder;
use super::go_types::Expected;
use super::normal::canonical_leaf;
use super::origin::Origin;
use super::scan::{Scanned, Start};
use crate::quantity::ParseQuantityError;
use crate::schema::Type;

impl<'s> Decoder<'_, 's> {
    /// A value of a type that is no container; null for one that is unset or wrong.
    pub(super) fn leaf(&mut self, expected: Expected<'s>, start: Start) -> Scanned<Value> {
        match (expected.ty, start) {
            (Type::SchemaOrBool(_), Start::Null) => self.own_error(NO_SCHEMA.to_owned()),
            (_, Start::Null) => self.scan.null().map(|()| Value::Null),
            (Type::Bool, Start::Bool) => Ok(self.scan.bool()?.into()),
            (Type::Int32 | Type::Int64 | Type::Double, Start::Number) => self.number(expected),
            (Type::String | Type::IntOrString, Start::String) => Ok(self.scan.string()?.into_owned().into()),
            (Type::IntOrString, Start::Number) => self.own_number(),
            (Type::IntOrString, _) => self.own_wrong_type(start, "int32"),
            (Type::Quantity, Start::Number) if self.origin != Origin::Json => self.own_wrong_type(start, "string"),
            (Type::Quantity, Start::String | Start::Number) => self.own_reading(expected.ty, start),
            (Type::Quantity, _) => self.own_error(ParseQuantityError::Format.to_string()),
            (Type::Time | Type::MicroTime | Type::Duration, Start::String) => self.own_reading(expected.ty, start),
            (Type::Time | Type::MicroTime | Type::Duration, _) => self.own_wrong_type(start, "string"),
            (Type::Bytes, Start::String) => self.bytes(),
            (Type::Bytes, Start::Array) => self.byte_list(),
            _ => self.wrong_type(start, &expected.go_name()),
        }
    }

    fn number(&mut self, expected: Expected<'s>) -> Scanned<Value> {
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
    fn own_reading(&mut self, ty: &Type, start: Start) -> Scanned<Value> {
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

    fn own_error(&mut self, why: String) -> Scanned<Value> {
        self.fatal = Some(why);
        self.scan.skip().map(|_| Value::Null)
    }

    /// The number of an `IntOrString`.
    fn own_number(&mut self) -> Scanned<Value> {
        let text = self.scan.number()?;
        if let Ok(number) = text.parse::<i32>() {
            return Ok(number.into());
        }
        self.fatal = Some(self.type_error_text(&format!("number {text}"), "int32"));
        Ok(Value::Null)
    }

    fn own_wrong_type(&mut self, start: Start, wanted: &str) -> Scanned<Value> {
        self.own_error(self.type_error_text(start.name(), wanted))
    }

    /// Go reads bytes from a list of numbers too.
    fn byte_list(&mut self) -> Scanned<Value> {
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
    fn bytes(&mut self) -> Scanned<Value> {
        let text = Value::String(self.scan.string()?.into_owned());
        Ok(match canonical_leaf(&text, &Type::Bytes) {
            None => text,
            Some(Ok(canonical)) => canonical,
            Some(Err(why)) => {
                self.type_error.get_or_insert(self.origin.base64_error(why));
                Value::Null
            }
        })
    }

    /// The alternatives of a CRD's schema read themselves, and not strictly.
    pub(super) fn schema_or(&mut self, expected: Expected<'s>, start: Start) -> Scanned<Value> {
        let strict = std::mem::replace(&mut self.strict_wanted, false);
        let earlier = self.type_error.take();
        let value = self.alternative(expected.ty, start)?;
        self.strict_wanted = strict;
        let within = std::mem::replace(&mut self.type_error, earlier);
        self.fatal = self.fatal.take().or(within);
        // For Go something was there, if no schema: only `items` is ever asked.
        let nothing = matches!(expected.ty, Type::SchemaOrStrings(_)) && value.as_array().is_some_and(Vec::is_empty);
        Ok(if nothing { Value::Null } else { value })
    }

    fn alternative(&mut self, ty: &'s Type, start: Start) -> Scanned<Value> {
        match (ty, start) {
            (Type::SchemaOrBool(s) | Type::SchemaOrArray(s) | Type::SchemaOrStrings(s), Start::Object) => {
                self.object(s.get())
            }
            (Type::SchemaOrBool(_), Start::Bool) => Ok(self.scan.bool()?.into()),
            (Type::SchemaOrBool(_), _) => self.own_error(NO_SCHEMA.to_owned()),
            (Type::SchemaOrArray(s), Start::Array) => self.items(|this| match this.scan.start()? {
                Start::Object => this.object(s.get()),
                other => this.wrong_type(other, s.get().go_name()),
            }),
            (Type::SchemaOrStrings(_), Start::Array) => {
                self.items(|this| this.value(Expected { ty: &Type::String, go: None }))
            }
            (Type::SchemaOrArray(_), _) => self.scan.skip().map(|_| Value::Array(Vec::new())),
            _ => self.scan.skip().map(|_| Value::Null),
        }
    }

    /// A scalar that may be anything.
    pub(super) fn any_leaf(&mut self, start: Start) -> Scanned<Value> {
        Ok(match start {
            Start::Null => self.scan.null().map(|()| Value::Null)?,
            Start::Bool => self.scan.bool()?.into(),
            Start::Number => {
                let text = self.scan.number()?;
                self.any_number(text)
            }
            _ => self.scan.string()?.into_owned().into(),
        })
    }

    fn any_number(&mut self, text: &str) -> Value {
        if let Ok(whole) = text.parse::<i64>() {
            return whole.into();
        }
        if let Some(why) = self.origin.too_large(text) {
            self.type_error.get_or_insert(why);
            return Value::Null;
        }
        if let Ok(whole) = text.parse::<u64>() {
            return whole.into();
        }
        if let Some(float) = text.parse().ok().and_then(Number::from_f64) {
            return Value::Number(float);
        }
        self.type_error(&format!("number {text}"), "float64");
        Value::Null
    }
}

const NO_SCHEMA: &str = "boolean or JSON schema expected";
