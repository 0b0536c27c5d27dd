//! One pass from bytes to a normalised object, steered by the field table.
//!
//! Errors are collected as `sigs.k8s.io/json` does: a type error is remembered and reading goes on (a later
//! syntax error outranks it); a type that reads itself (quantity, time, …) fails at once; unknown and duplicate
//! fields count only when nothing else is wrong.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use super::normal::{canonical_leaf, fill, keeps, zero};
use super::scan::{Scan, Scanned, Start, SyntaxError};
use super::{Failure, TypeMeta};
use crate::quote::quote;
use crate::schema::{Field, ListType, MapType, ObjectType, Type};

/// Strict errors beyond these are not collected.
const MAX_STRICT_ERRORS: usize = 100;

pub struct Decoder<'a, 's> {
    scan: Scan<'a>,
    path: Vec<Step<'a, 's>>,
    /// Texts of unknown and duplicate fields, each once.
    strict: Vec<String>,
    strict_wanted: bool,
    /// The first type error.
    type_error: Option<String>,
    /// The first error of a type that reads itself. Nothing after it is decoded.
    fatal: Option<String>,
}

/// One step down from the root.
enum Step<'a, 's> {
    Field(&'s ObjectType, &'s Field),
    Key(Cow<'a, str>),
    Index(usize),
}

/// A type and Go's own name of it, where it has one.
#[derive(Clone, Copy)]
struct Expected<'s> {
    ty: &'s Type,
    go: Option<&'s str>,
}

impl<'s> Expected<'s> {
    fn of(field: &'s Field) -> Self {
        Self { ty: &field.ty, go: field.go_type.as_deref() }
    }

    /// What stands in a list or map of this type: Go's name loses its `[]` or `map[…]`.
    fn inner(self, ty: &'s Type) -> Self {
        let go = self.go.and_then(|go| go.split_once(']')).map(|(_, inner)| inner);
        Self { ty, go }
    }

    fn go_name(self) -> String {
        self.go.map_or_else(|| go_name(self.ty), str::to_owned)
    }
}

impl<'a, 's> Decoder<'a, 's> {
    pub fn new(bytes: &'a [u8], strict_wanted: bool) -> Self {
        Self {
            scan: Scan::new(bytes),
            path: Vec::new(),
            strict: Vec::new(),
            strict_wanted,
            type_error: None,
            fatal: None,
        }
    }

    /// The whole text: an object of the schema, or any JSON without one.
    pub fn document(mut self, schema: Option<&'s ObjectType>) -> Result<(Value, Vec<String>), Failure> {
        let value = self.root(schema).map_err(|SyntaxError(why)| Failure::Syntax(why))?;
        if value.is_array() {
            return Err(Failure::Syntax(format!("json: cannot unmarshal array into Go value of type {GO_TYPE_META}")));
        }
        match self.fatal.or(self.type_error) {
            Some(why) => Err(Failure::Content { type_meta: TypeMeta::of(&value), why }),
            None => Ok((value, self.strict)),
        }
    }

    fn root(&mut self, schema: Option<&'s ObjectType>) -> Scanned<Value> {
        let value = match (self.scan.start()?, schema) {
            (Start::Object, Some(schema)) => Value::Object(self.object(schema)?),
            _ => self.any(true)?,
        };
        self.scan.end()?;
        Ok(value)
    }

    fn object(&mut self, schema: &'s ObjectType) -> Scanned<Map<String, Value>> {
        self.scan.open()?;
        let mut map = Map::new();
        let mut seen = Seen::default();
        let mut first = true;
        while let Some(key) = self.scan.next_key(std::mem::take(&mut first))? {
            let Some(index) = schema.position(&key) else {
                self.unknown(schema, key, &mut map)?;
                continue;
            };
            let field = &schema.fields[index];
            if seen.again(index) {
                self.report("duplicate", &key);
            }
            self.path.push(Step::Field(schema, field));
            let value = self.value(Expected::of(field))?;
            self.path.pop();
            if keeps(field, &value) {
                map.insert(field.json.clone(), value);
            }
        }
        fill(&mut map, schema);
        Ok(map)
    }

    fn unknown(&mut self, schema: &ObjectType, key: Cow<'a, str>, map: &mut Map<String, Value>) -> Scanned<()> {
        if schema.preserve_unknown {
            let value = self.any(false)?;
            map.insert(key.into_owned(), value);
            return Ok(());
        }
        self.report("unknown", &key);
        self.scan.skip()?;
        Ok(())
    }

    /// A value of a type; null for one that is unset or wrong.
    fn value(&mut self, expected: Expected<'s>) -> Scanned<Value> {
        let start = self.scan.start()?;
        if self.fatal.is_some() {
            self.scan.skip()?;
            return Ok(Value::Null);
        }
        match (expected.ty, start) {
            (Type::SchemaOrBool(_), Start::Null) => self.own_error("boolean or JSON schema expected".to_owned()),
            (Type::RawExtension | Type::FieldsV1 | Type::Json, _) => self.any(false),
            (_, Start::Null) => self.scan.null().map(|()| Value::Null),
            (Type::Bool, Start::Bool) => Ok(self.scan.bool()?.into()),
            (Type::Int32 | Type::Int64 | Type::Double, Start::Number) => self.number(expected),
            (Type::String, Start::String) => Ok(self.scan.string()?.into_owned().into()),
            (Type::IntOrString, Start::String) => Ok(self.scan.string()?.into_owned().into()),
            (Type::IntOrString, Start::Number) => self.own_number(),
            (Type::IntOrString, _) => self.own_wrong_type(start, "int32"),
            (Type::Quantity, Start::String | Start::Number) => self.own_reading(expected.ty, start),
            (Type::Quantity, _) => self.own_error(crate::quantity::ParseQuantityError::Format.to_string()),
            (Type::Time | Type::MicroTime | Type::Duration, Start::String) => self.own_reading(expected.ty, start),
            (Type::Time | Type::MicroTime | Type::Duration, _) => self.own_wrong_type(start, "string"),
            (Type::Bytes, Start::String) => self.bytes(),
            (Type::Bytes, Start::Array) => self.byte_list(),
            (Type::List(list), Start::Array) => self.list(expected, list),
            (Type::Map(map), Start::Object) => self.map(expected, map),
            (Type::Object(object), Start::Object) => Ok(Value::Object(self.object(object.get())?)),
            (Type::SchemaOrBool(_), Start::Bool) => Ok(self.scan.bool()?.into()),
            (Type::SchemaOrBool(_) | Type::SchemaOrArray(_) | Type::SchemaOrStrings(_), _) => {
                self.schema_or(expected, start)
            }
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
                self.type_error.get_or_insert(why);
                Value::Null
            }
        })
    }

    fn list(&mut self, expected: Expected<'s>, list: &'s ListType) -> Scanned<Value> {
        self.scan.open()?;
        let mut items = Vec::new();
        let mut first = true;
        while self.scan.next_item(std::mem::take(&mut first))? {
            self.path.push(Step::Index(items.len()));
            let item = self.value(expected.inner(&list.item))?;
            self.path.pop();
            items.push(if item.is_null() { zero(&list.item) } else { item });
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, expected: Expected<'s>, map: &'s MapType) -> Scanned<Value> {
        self.scan.open()?;
        let mut entries = Map::new();
        let mut first = true;
        while let Some(key) = self.scan.next_key(std::mem::take(&mut first))? {
            if entries.contains_key(&*key) {
                self.report("duplicate", &key);
            }
            self.path.push(Step::Key(key.clone()));
            let value = self.value(expected.inner(&map.value))?;
            self.path.pop();
            entries.insert(key.into_owned(), if value.is_null() { zero(&map.value) } else { value });
        }
        Ok(Value::Object(entries))
    }

    /// The alternatives of a CRD's schema read themselves, and not strictly.
    fn schema_or(&mut self, expected: Expected<'s>, start: Start) -> Scanned<Value> {
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

    /// Any JSON: whole numbers that fit stay whole. `strict` looks for duplicate fields.
    fn any(&mut self, strict: bool) -> Scanned<Value> {
        Ok(match self.scan.start()? {
            Start::Null => self.scan.null().map(|()| Value::Null)?,
            Start::Bool => self.scan.bool()?.into(),
            Start::String => self.scan.string()?.into_owned().into(),
            Start::Number => {
                let text = self.scan.number()?;
                self.any_number(text)
            }
            Start::Array => {
                self.scan.open()?;
                let mut items = Vec::new();
                let mut first = true;
                while self.scan.next_item(std::mem::take(&mut first))? {
                    self.path.push(Step::Index(items.len()));
                    items.push(self.any(strict)?);
                    self.path.pop();
                }
                Value::Array(items)
            }
            Start::Object => {
                self.scan.open()?;
                let mut map = Map::new();
                let mut first = true;
                while let Some(key) = self.scan.next_key(std::mem::take(&mut first))? {
                    if strict && map.contains_key(&*key) {
                        self.report("duplicate", &key);
                    }
                    self.path.push(Step::Key(key.clone()));
                    let value = self.any(strict)?;
                    self.path.pop();
                    map.insert(key.into_owned(), value);
                }
                Value::Object(map)
            }
        })
    }

    fn any_number(&mut self, text: &str) -> Value {
        if let Ok(whole) = text.parse::<i64>() {
            return whole.into();
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

    fn wrong_type(&mut self, start: Start, wanted: &str) -> Scanned<Value> {
        self.type_error(start.name(), wanted);
        self.scan.skip()?;
        Ok(Value::Null)
    }

    fn type_error(&mut self, found: &str, wanted: &str) {
        if self.type_error.is_none() && self.fatal.is_none() {
            self.type_error = Some(self.type_error_text(found, wanted));
        }
    }

    fn type_error_text(&self, found: &str, wanted: &str) -> String {
        let place = match self.go_path() {
            Some(path) => format!("Go struct field {path}"),
            None => "Go value".to_owned(),
        };
        format!("json: cannot unmarshal {found} into {place} of type {wanted}")
    }

    /// `PodSpec.spec.containers`: the innermost struct, then the fields from the root, embedded structs among them.
    fn go_path(&self) -> Option<String> {
        let mut innermost = None;
        let mut names: Vec<&str> = Vec::new();
        for step in &self.path {
            if let Step::Field(owner, field) = step {
                innermost = Some(owner.short_name());
                embedding(owner, field, &mut names);
                names.push(&field.json);
            }
        }
        Some(format!("{}.{}", innermost?, names.join(".")))
    }

    fn report(&mut self, problem: &str, key: &str) {
        if !self.strict_wanted || self.strict.len() >= MAX_STRICT_ERRORS {
            return;
        }
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Field(_, field) => push_name(&mut path, &field.json),
                Step::Key(key) => push_name(&mut path, key),
                Step::Index(i) => path.push_str(&format!("[{i}]")),
            }
        }
        push_name(&mut path, key);
        let text = format!("{problem} field {}", quote(&path));
        if !self.strict.contains(&text) {
            self.strict.push(text);
        }
    }
}

/// Go's anonymous struct that apiVersion and kind are first read into.
const GO_TYPE_META: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// Names of the embedded structs between an owner and one of its flattened fields.
fn embedding<'s>(owner: &'s ObjectType, field: &Field, names: &mut Vec<&'s str>) {
    if field.inlined_from == 0 {
        return;
    }
    let message = owner.fields.iter().find(|f| f.inline && f.tag == field.inlined_from);
    if let Some(Type::Object(nested)) = message.map(|f| &f.ty) {
        names.push(nested.get().short_name());
        if let Some(inner) = nested.get().field(&field.json) {
            embedding(nested.get(), inner, names);
        }
    }
}

/// Go's name of a type that has none of its own.
fn go_name(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::Int32 => "int32".to_owned(),
        Type::Int64 => "int64".to_owned(),
        Type::Double => "float64".to_owned(),
        Type::String => "string".to_owned(),
        Type::Bytes => "[]uint8".to_owned(),
        Type::Quantity => "resource.Quantity".to_owned(),
        Type::IntOrString => "intstr.IntOrString".to_owned(),
        Type::Time => "v1.Time".to_owned(),
        Type::MicroTime => "v1.MicroTime".to_owned(),
        Type::Duration => "v1.Duration".to_owned(),
        Type::RawExtension => "runtime.RawExtension".to_owned(),
        Type::FieldsV1 => "v1.FieldsV1".to_owned(),
        Type::Json => "v1.JSON".to_owned(),
        Type::List(list) => format!("[]{}", go_name(&list.item)),
        Type::Map(map) => format!("map[string]{}", go_name(&map.value)),
        Type::Object(object)
        | Type::SchemaOrBool(object)
        | Type::SchemaOrArray(object)
        | Type::SchemaOrStrings(object) => object.get().go_name().to_owned(),
    }
}

/// Which fields of an object were read already.
#[derive(Default)]
struct Seen {
    low: u64,
    /// Beyond the 64 fields that nearly every type stays under.
    high: Vec<usize>,
}

impl Seen {
    fn again(&mut self, field: usize) -> bool {
        if field < 64 {
            let bit = 1 << field;
            let again = self.low & bit != 0;
            self.low |= bit;
            return again;
        }
        let again = self.high.contains(&field);
        self.high.push(field);
        again
    }
}
