//! One step of a path into an object.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Number, Value};

/// A step: into a field, or to an item of a list.
#[derive(Clone, Debug)]
pub enum PathElement {
    /// `f:replicas`: a field of an object, a key of a map.
    Field(String),
    /// `k:{"name":"web"}`: the item of a keyed list with these key fields, sorted by name.
    Key(Vec<(String, Value)>),
    /// `v:"a"`: the item of a set with this value.
    Value(Value),
    /// `i:0`: written by nobody, read for completeness.
    Index(i64),
}

/// Why a key of `fieldsV1` is no path element.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseElementError {
    #[error("key must be 2 characters long:")]
    TooShort,
    #[error("missing colon: {0}")]
    NoColon(String),
    #[error("invalid path element {0:?}")]
    Content(String),
}

impl PathElement {
    pub fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    /// The element's name in `fieldsV1`.
    pub fn json_key(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let fields: Map<String, Value> = fields.iter().cloned().collect();
                format!("k:{}", Value::Object(fields))
            }
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// `Ok(None)` for a form of a later version, which is to be ignored.
    pub fn parse(key: &str) -> Result<Option<Self>, ParseElementError> {
        let bad = || ParseElementError::Content(key.to_owned());
        let (Some(form), Some(colon)) = (key.as_bytes().first(), key.as_bytes().get(1)) else {
            return Err(ParseElementError::TooShort);
        };
        if *colon != b':' {
            return Err(ParseElementError::NoColon(key.to_owned()));
        }
        let content = &key[2..];
        Ok(Some(match form {
            b'f' => Self::Field(content.to_owned()),
            b'k' => match serde_json::from_str(content).map_err(|_| bad())? {
                Value::Object(fields) => Self::Key(fields.into_iter().collect()),
                _ => return Err(bad()),
            },
            b'v' => Self::Value(serde_json::from_str(content).map_err(|_| bad())?),
            b'i' => Self::Index(content.parse().map_err(|_| bad())?),
            _ => return Ok(None),
        }))
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => compare_keys(a, b),
            (Self::Value(a), Self::Value(b)) => compare_values(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PathElement {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for PathElement {}

/// As conflicts print paths: `.spec`, `[name="web"]`, `[="a"]`.
impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
                write!(f, "[{}]", fields.join(","))
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// Upstream's `value.ToString`: what is no scalar has no business in a key, and may stand there all the same.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
            fields.concat()
        }
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}

fn compare_keys(a: &[(String, Value)], b: &[(String, Value)]) -> Ordering {
    let fields =
        a.iter().zip(b).map(|((a_name, a), (b_name, b))| a_name.cmp(b_name).then_with(|| compare_values(a, b)));
    fields.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
}

/// A total order over values: numbers by size, then strings, booleans, lists, objects, null.
pub fn compare_values(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    };
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let items = a.iter().zip(b).map(|(a, b)| compare_values(a, b));
            items.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let fields =
                a.iter().zip(b).map(|((a_key, a), (b_key, b))| a_key.cmp(b_key).then_with(|| compare_values(a, b)));
            fields.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

fn compare_numbers(a: &Number, b: &Number) -> Ordering {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default()),
    }
}

/// Equality that does not tell `1` from `1.0`.
pub fn same_value(a: &Value, b: &Value) -> bool {
    a == b || compare_values(a, b).is_eq()
}
