//! One pass from bytes to a normalised object, steered by the field table.
//!
//! Errors are collected as `sigs.k8s.io/json` does: a type error is remembered and reading goes on (a later
//! syntax error outranks it); a type that reads itself (quantity, time, …) fails at once; unknown and duplicate
//! fields count only when nothing else is wrong.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::go_types::Expected;
use super::normal::{fill, keeps, zero};
use super::origin::Origin;
use super::path::{Path, Step};
use super::scan::{Scan, Scanned, Start, SyntaxError};
use super::{Failure, TypeMeta};
use crate::quote::quote;
use crate::schema::{ListType, MapType, ObjectType, Type};

pub struct Decoder<'a, 's> {
    pub(super) scan: Scan<'a>,
    pub(super) origin: Origin,
    path: Path<'a, 's>,
    /// Texts of unknown and duplicate fields, each once.
    strict: Vec<String>,
    pub(super) strict_wanted: bool,
    /// Every list and map counts here, if it be empty.
    empty_counts: bool,
    /// The first type error.
    pub(super) type_error: Option<String>,
    /// The first error of a type that reads itself. Nothing after it is decoded.
    pub(super) fatal: Option<String>,
}

impl<'a, 's> Decoder<'a, 's> {
    pub fn new(bytes: &'a [u8], strict_wanted: bool) -> Self {
        Self {
            scan: Scan::new(bytes),
            origin: Origin::Json,
            path: Path::default(),
            strict: Vec::new(),
            strict_wanted,
            empty_counts: false,
            type_error: None,
            fatal: None,
        }
    }

    /// The same for a text that was in another form before.
    pub fn from(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// The whole text: an object of the schema, or any JSON without one.
    pub fn document(mut self, schema: Option<&'s ObjectType>) -> Result<(Value, Vec<String>), Failure> {
        let value = self.root(schema).map_err(|SyntaxError(why)| Failure::Syntax(why))?;
        let found = match value {
            Value::Array(_) => "array",
            Value::String(_) if schema.is_some() => "string",
            Value::Number(_) if schema.is_some() => "number",
            Value::Bool(_) if schema.is_some() => "bool",
            _ => "",
        };
        if !found.is_empty() {
            return Err(Failure::Syntax(format!(
                "json: cannot unmarshal {found} into Go value of type {GO_TYPE_META}"
            )));
        }
        match self.fatal.or(self.type_error) {
            Some(why) => Err(Failure::Content { type_meta: TypeMeta::of(&value), why }),
            None => Ok((value, self.strict)),
        }
    }

    fn root(&mut self, schema: Option<&'s ObjectType>) -> Scanned<Value> {
        let value = match (self.scan.start()?, schema) {
            (Start::Object, Some(schema)) => self.object(schema)?,
            _ => self.any(true)?,
        };
        self.scan.end()?;
        Ok(value)
    }

    pub(super) fn object(&mut self, schema: &'s ObjectType) -> Scanned<Value> {
        self.scan.open()?;
        let mut map = Map::new();
        let mut seen = Seen::default();
        let mut entry = 0;
        while let Some(key) = self.scan.next_key(entry == 0)? {
            entry += 1;
            let Some(index) = schema.position(&key) else {
                self.unknown(schema, key, entry - 1, &mut map)?;
                continue;
            };
            let field = &schema.fields[index];
            if seen.again(index) {
                self.duplicate(&key);
            }
            self.path.push(Step::Field(schema, field));
            let around = self.empty_counts;
            self.empty_counts |= field.empty_counts_below;
            let value = self.value(Expected::of(field))?;
            let empty_counts = std::mem::replace(&mut self.empty_counts, around);
            self.path.pop();
            if keeps(field, &value, empty_counts) {
                map.insert(field.json.clone(), value);
            }
        }
        fill(&mut map, schema);
        Ok(Value::Object(map))
    }

    fn unknown(
        &mut self,
        schema: &ObjectType,
        key: Cow<'a, str>,
        entry: usize,
        map: &mut Map<String, Value>,
    ) -> Scanned<()> {
        if schema.preserve_unknown {
            let value = self.any(false)?;
            map.insert(key.into_owned(), value);
            return Ok(());
        }
        self.report(|this| this.origin.unknown_field(&this.path.child(&key), entry));
        self.scan.skip()?;
        Ok(())
    }

    /// A value of a type; null for one that is unset or wrong.
    pub(super) fn value(&mut self, expected: Expected<'s>) -> Scanned<Value> {
        let start = self.scan.start()?;
        if self.fatal.is_some() {
            self.scan.skip()?;
            return Ok(Value::Null);
        }
        match (expected.ty, start) {
            (Type::List(list), Start::Array) => self.list(expected, list),
            (Type::Map(map), Start::Object) => self.map(expected, map),
            (Type::Object(object), Start::Object) => self.object(object.get()),
            (Type::SchemaOrBool(_) | Type::SchemaOrArray(_) | Type::SchemaOrStrings(_), _) if start != Start::Null => {
                self.schema_or(expected, start)
            }
            (Type::RawExtension | Type::FieldsV1 | Type::Json, _) => self.any(false),
            _ => self.leaf(expected, start),
        }
    }

    fn list(&mut self, expected: Expected<'s>, list: &'s ListType) -> Scanned<Value> {
        self.items(|this| {
            let item = this.value(expected.inner(&list.item))?;
            Ok(if item.is_null() { zero(&list.item) } else { item })
        })
    }

    fn map(&mut self, expected: Expected<'s>, map: &'s MapType) -> Scanned<Value> {
        self.entries(true, |this| {
            let value = this.value(expected.inner(&map.value))?;
            Ok(if value.is_null() { zero(&map.value) } else { value })
        })
    }

    /// Any JSON: whole numbers that fit stay whole. `strict` looks for duplicate fields.
    fn any(&mut self, strict: bool) -> Scanned<Value> {
        match self.scan.start()? {
            Start::Array => self.items(|this| this.any(strict)),
            Start::Object => self.entries(strict, |this| this.any(strict)),
            leaf => self.any_leaf(leaf),
        }
    }

    /// An array, each item read by `item`.
    pub(super) fn items(&mut self, mut item: impl FnMut(&mut Self) -> Scanned<Value>) -> Scanned<Value> {
        self.scan.open()?;
        let mut items = Vec::new();
        let mut first = true;
        while self.scan.next_item(std::mem::take(&mut first))? {
            self.path.push(Step::Index(items.len()));
            items.push(item(self)?);
            self.path.pop();
        }
        Ok(Value::Array(items))
    }

    /// An object with keys of the client's choice, each value read by `value`.
    fn entries(&mut self, strict: bool, mut value: impl FnMut(&mut Self) -> Scanned<Value>) -> Scanned<Value> {
        self.scan.open()?;
        let mut entries = Map::new();
        let mut first = true;
        while let Some(key) = self.scan.next_key(std::mem::take(&mut first))? {
            if strict && entries.contains_key(&*key) {
                self.duplicate(&key);
            }
            self.path.push(Step::Key(key.clone()));
            let value = value(self)?;
            self.path.pop();
            entries.insert(key.into_owned(), value);
        }
        Ok(Value::Object(entries))
    }

    pub(super) fn wrong_type(&mut self, start: Start, wanted: &str) -> Scanned<Value> {
        self.type_error(start.name(), wanted);
        self.scan.skip()?;
        Ok(Value::Null)
    }

    pub(super) fn type_error(&mut self, found: &str, wanted: &str) {
        if self.type_error.is_none() && self.fatal.is_none() {
            self.type_error = Some(self.type_error_text(found, wanted));
        }
    }

    pub(super) fn type_error_text(&self, found: &str, wanted: &str) -> String {
        self.origin.type_error(&self.path, found, wanted)
    }

    fn duplicate(&mut self, key: &str) {
        self.report(|this| format!("duplicate field {}", quote(&this.path.child(key))));
    }

    fn report(&mut self, text: impl FnOnce(&Self) -> String) {
        if !self.strict_wanted || self.strict.len() >= self.origin.most_reports() {
            return;
        }
        let text = text(self);
        if !self.strict.contains(&text) {
            self.strict.push(text);
        }
    }
}

/// Go's anonymous struct that apiVersion and kind are first read into.
const GO_TYPE_META: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

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
