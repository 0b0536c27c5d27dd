//! Field paths and validation errors, in upstream's words
//! (`k8s.io/apimachinery/pkg/util/validation/field`).

use std::fmt;

use serde_json::{Value, json};

/// A path to a field: `spec.containers[0].name`, `metadata.labels[a/b]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    pub fn new(root: &str) -> Self {
        Self(root.to_owned())
    }

    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    #[must_use]
    pub fn index(&self, i: usize) -> Self {
        Self(format!("{}[{i}]", self.0))
    }

    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
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
    fn new(kind: ErrorType, path: &Path, value: Option<Value>, detail: impl Into<String>) -> Self {
        Self { kind, field: path.to_string(), value, detail: detail.into() }
    }

    /// Everything after the field path; also the cause's `message`.
    pub fn body(&self) -> String {
        let mut text = self.kind.words().to_owned();
        if let Some(value) = &self.value {
            text.push_str(": ");
            text.push_str(&value.to_string());
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

    pub fn invalid(&mut self, path: &Path, value: impl Into<Value>, detail: impl Into<String>) {
        self.push(Error::new(ErrorType::Invalid, path, Some(value.into()), detail));
    }

    pub fn type_invalid(&mut self, path: &Path, value: impl Into<Value>, detail: impl Into<String>) {
        self.push(Error::new(ErrorType::TypeInvalid, path, Some(value.into()), detail));
    }

    pub fn required(&mut self, path: &Path, detail: impl Into<String>) {
        self.push(Error::new(ErrorType::Required, path, None, detail));
    }

    pub fn forbidden(&mut self, path: &Path, detail: impl Into<String>) {
        self.push(Error::new(ErrorType::Forbidden, path, None, detail));
    }

    pub fn duplicate(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(Error::new(ErrorType::Duplicate, path, Some(value.into()), ""));
    }

    pub fn not_found(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(Error::new(ErrorType::NotFound, path, Some(value.into()), ""));
    }

    pub fn not_supported(&mut self, path: &Path, value: impl Into<Value>, supported: &[&str]) {
        let quoted: Vec<String> = supported.iter().map(|s| format!("\"{s}\"")).collect();
        let detail = if quoted.is_empty() { String::new() } else { format!("supported values: {}", quoted.join(", ")) };
        self.push(Error::new(ErrorType::NotSupported, path, Some(value.into()), detail));
    }

    /// More than `max_length` bytes.
    pub fn too_long(&mut self, path: &Path, max_length: usize) {
        self.push(Error::new(ErrorType::TooLong, path, None, format!("may not be more than {max_length} bytes")));
    }

    /// `actual` items where at most `max` may stand.
    pub fn too_many(&mut self, path: &Path, actual: usize, max: usize) {
        let plural = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {plural}");
        self.push(Error::new(ErrorType::TooMany, path, Some(actual.into()), detail));
    }

    pub fn internal(&mut self, path: &Path, detail: impl Into<String>) {
        self.push(Error::new(ErrorType::InternalError, path, None, detail));
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
