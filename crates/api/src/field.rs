//! Field paths and validation errors, in upstream's words
//! (`k8s.io/apimachinery/pkg/util/validation/field`).

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

use crate::quote::quote;

/// A path to a field: `spec.containers[0].name`, `metadata.labels[a/b]`.
///
/// A path borrows its parent and becomes text only when an error needs it, so that checking a valid object
/// allocates nothing for paths. The default path is upstream's nil, `<nil>`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    part: Part<'a>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Part<'a> {
    #[default]
    Nil,
    /// One field, or several with dots between them.
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    pub fn new(root: &'a str) -> Self {
        Self { parent: None, part: Part::Field(root) }
    }

    /// A field below this one; `a.b` is `b` below `a`.
    #[must_use]
    pub fn child(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), part: Part::Field(name) }
    }

    #[must_use]
    pub fn index(&'a self, i: usize) -> Self {
        Self { parent: Some(self), part: Part::Index(i) }
    }

    #[must_use]
    pub fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), part: Part::Key(key) }
    }

    /// Writes the path; says whether a name after it needs a dot.
    fn write(&self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
        let dot = match self.parent {
            Some(parent) => parent.write(f)?,
            None => false,
        };
        match self.part {
            Part::Nil => return Ok(false),
            // Upstream takes an empty name for a subscript.
            Part::Field("") => f.write_str("[]")?,
            Part::Field(name) if dot => write!(f, ".{name}")?,
            Part::Field(name) => f.write_str(name)?,
            Part::Index(i) => write!(f, "[{i}]")?,
            Part::Key(key) => write!(f, "[{key}]")?,
        }
        Ok(true)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.parent, self.part) {
            (None, Part::Nil) => f.write_str("<nil>"),
            _ => self.write(f).map(drop),
        }
    }
}

/// What kind of rule a field broke; `reason()` is the cause's machine-readable form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    InternalError,
    TypeInvalid,
}

impl ErrorType {
    /// The `reason` of a `StatusCause`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::InternalError => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::InternalError => "Internal error",
        }
    }
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    pub kind: ErrorType,
    pub field: String,
    /// The bad value as upstream prints it; `None` prints no value.
    pub value: Option<Value>,
    pub detail: String,
}

impl Error {
    fn new(kind: ErrorType, path: &Path<'_>, value: Option<Value>, detail: impl Into<String>) -> Self {
        Self { kind, field: path.to_string(), value, detail: detail.into() }
    }

    /// Everything after the field path; also the cause's `message`.
    pub fn body(&self) -> String {
        let mut text = self.kind.words().to_owned();
        if let Some(value) = &self.value {
            text.push_str(": ");
            match value {
                Value::String(value) => text.push_str(&quote(value)),
                value => text.push_str(&value.to_string()),
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// All broken rules of one object, in the order they were found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorList(pub Vec<Error>);

impl ErrorList {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn push(&mut self, error: Error) {
        self.0.push(error);
    }

    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub fn invalid(&mut self, path: &Path<'_>, value: impl Into<Value>, detail: impl Into<String>) {
        self.push(Error::new(ErrorType::Invalid, path, Some(value.into()), detail));
    }

    /// One error for each of a rule's messages.
    pub fn each_invalid(&mut self, path: &Path<'_>, value: &str, messages: Vec<String>) {
        for message in messages {
            self.invalid(path, value, message);
        }
    }

    pub fn type_invalid(&mut self, path: &Path<'_>, value: impl Into<Value>, detail: impl Into<String>) {
        self.push(Error::new(ErrorType::TypeInvalid, path, Some(value.into()), detail));
    }

    pub fn required(&mut self, path: &Path<'_>, detail: impl Into<String>) {
        self.push(Error::new(ErrorType::Required, path, None, detail));
    }

    pub fn forbidden(&mut self, path: &Path<'_>, detail: impl Into<String>) {
        self.push(Error::new(ErrorType::Forbidden, path, None, detail));
    }

    pub fn duplicate(&mut self, path: &Path<'_>, value: impl Into<Value>) {
        self.push(Error::new(ErrorType::Duplicate, path, Some(value.into()), ""));
    }

    /// An error whose value is given as the text that upstream prints for its internal type.
    pub fn shown(&mut self, kind: ErrorType, path: &Path<'_>, value: &str, detail: &str) {
        let text = if detail.is_empty() { value.to_owned() } else { format!("{value}: {detail}") };
        self.push(Error::new(kind, path, None, text));
    }

    pub fn not_found(&mut self, path: &Path<'_>, value: impl Into<Value>) {
        self.push(Error::new(ErrorType::NotFound, path, Some(value.into()), ""));
    }

    pub fn not_supported(&mut self, path: &Path<'_>, value: impl Into<Value>, supported: &[&str]) {
        let quoted: Vec<String> = supported.iter().map(|s| quote(s)).collect();
        let detail = if quoted.is_empty() { String::new() } else { format!("supported values: {}", quoted.join(", ")) };
        self.push(Error::new(ErrorType::NotSupported, path, Some(value.into()), detail));
    }

    /// More than `max_length` bytes.
    pub fn too_long(&mut self, path: &Path<'_>, max_length: usize) {
        let plural = if max_length == 1 { "byte" } else { "bytes" };
        self.push(Error::new(ErrorType::TooLong, path, None, format!("may not be more than {max_length} {plural}")));
    }

    /// The same, counted in characters.
    pub fn at_most_characters(&mut self, value: &str, max_length: usize, path: &Path<'_>) {
        if value.chars().count() > max_length {
            let plural = if max_length == 1 { "character" } else { "characters" };
            let detail = format!("may not be more than {max_length} {plural}");
            self.push(Error::new(ErrorType::TooLong, path, None, detail));
        }
    }

    /// `actual` items where at most `max` may stand.
    pub fn too_many(&mut self, path: &Path<'_>, actual: usize, max: usize) {
        let plural = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {plural}");
        self.push(Error::new(ErrorType::TooMany, path, Some(actual.into()), detail));
    }

    pub fn internal(&mut self, path: &Path<'_>, detail: impl Into<String>) {
        self.push(Error::new(ErrorType::InternalError, path, None, detail));
    }

    /// Drops repeats, as upstream does where it sets rules that are declared apart from those that are coded.
    pub fn once(&mut self) {
        let mut seen = BTreeSet::new();
        self.0.retain(|error| seen.insert(error.to_string()));
    }

    /// The text upstream's aggregate prints: one error bare, several in brackets, repeats once.
    pub fn aggregate(&self) -> String {
        let mut texts: Vec<String> = Vec::new();
        for error in &self.0 {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        }
    }

    /// `details.causes` of a 422 Status.
    pub fn causes(&self) -> Value {
        self.0.iter().map(|e| json!({ "reason": e.kind.reason(), "message": e.body(), "field": e.field })).collect()
    }
}
