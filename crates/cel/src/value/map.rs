//! Maps and objects: of JSON, or made by the expression.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::{Result, Text, Value, fail};
use crate::decl::{DeclType, Form};

#[derive(Clone)]
pub enum Map<'a> {
    Json(&'a serde_json::Map<String, Json>, Option<&'a DeclType>),
    Entries(Arc<BTreeMap<Key<'a>, Value<'a>>>),
}

/// The variables of an evaluation, made when asked for.
pub trait Variables<'a> {
    /// The variable's value, if there is such a variable.
    fn get(&self, name: &str) -> Result<Option<Value<'a>>>;
}

/// What a map can be asked for. Numbers of all kinds are one.
#[derive(Clone)]
pub enum Key<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
}

impl<'a> Key<'a> {
    pub fn of(value: &Value<'a>) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Uint(value) => Self::Uint(*value),
            Value::Double(value) => Self::Double(*value),
            Value::String(text) => Self::String(text.clone()),
            _ => return None,
        })
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Int(_) | Self::Uint(_) | Self::Double(_) => 1,
            Self::String(_) => 2,
        }
    }

    /// A number's whole part and the rest.
    fn number(&self) -> (i128, f64) {
        match self {
            Self::Int(value) => (i128::from(*value), 0.0),
            Self::Uint(value) => (i128::from(*value), 0.0),
            Self::Double(value) if value.is_nan() => (i128::MAX, f64::NAN),
            // Adding zero makes a negative zero positive.
            Self::Double(value) => (value.floor() as i128, value - value.floor() + 0.0),
            _ => (0, 0.0),
        }
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key<'_> {}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::String(a), Self::String(b)) => (**a).cmp(&**b),
            _ => self.rank().cmp(&other.rank()).then_with(|| {
                let ((a, a_rest), (b, b_rest)) = (self.number(), other.number());
                a.cmp(&b).then_with(|| a_rest.total_cmp(&b_rest))
            }),
        }
    }
}

impl<'a> From<Key<'a>> for Value<'a> {
    fn from(key: Key<'a>) -> Self {
        match key {
            Key::Bool(value) => Self::Bool(value),
            Key::Int(value) => Self::Int(value),
            Key::Uint(value) => Self::Uint(value),
            Key::Double(value) => Self::Double(value),
            Key::String(text) => Self::String(text),
        }
    }
}

impl<'a> Map<'a> {
    pub fn len(&self) -> usize {
        match self {
            Self::Json(map, _) => map.len(),
            Self::Entries(entries) => entries.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn find(&self, key: &Value<'a>) -> Result<Option<Value<'a>>> {
        match self {
            Self::Json(..) => match key {
                Value::String(text) => self.find_str(text),
                _ if matches!(self, Self::Json(_, Some(_))) => super::no_overload(),
                _ => Ok(None),
            },
            Self::Entries(entries) => Ok(Key::of(key).and_then(|key| entries.get(&key).cloned())),
        }
    }

    pub fn find_str(&self, name: &str) -> Result<Option<Value<'a>>> {
        match self {
            Self::Json(map, None) => map.get(name).map(|json| Value::read(json, None)).transpose(),
            Self::Json(map, Some(decl)) => find_declared(map, decl, name),
            Self::Entries(entries) => Ok(entries.get(&Key::String(Text::Shared(name.into()))).cloned()),
        }
    }

    /// The keys a fold runs over.
    pub fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Self::Json(map, None) => map.keys().map(|key| Value::string(key.as_str())).collect(),
            Self::Json(map, Some(decl)) => map
                .keys()
                .filter(|key| decl.property(key).is_some())
                .map(|key| match decl.is_object().then(|| crate::escape::escape(key)).flatten() {
                    Some(escaped) => Value::string(escaped),
                    None => Value::string(key.as_str()),
                })
                .collect(),
            Self::Entries(entries) => entries.keys().cloned().map(Value::from).collect(),
        }
    }

    pub fn entries(&self) -> Result<Vec<(Value<'a>, Value<'a>)>> {
        let pair = |key: Value<'a>| match self.find(&key)? {
            Some(value) => Ok((key, value)),
            None => Ok((key, Value::Null)),
        };
        self.keys().into_iter().map(pair).collect()
    }

    pub fn insert(&mut self, key: &Value<'a>, value: Value<'a>) -> Result<()> {
        let Some(key_form) = Key::of(key) else { return fail(format!("unsupported key type: {}", key.type_name())) };
        if !matches!(self, Self::Entries(_)) {
            let entries = self.entries()?;
            let entries = entries.into_iter().filter_map(|(key, value)| Some((Key::of(&key)?, value))).collect();
            *self = Self::Entries(Arc::new(entries));
        }
        let Self::Entries(entries) = self else { return Ok(()) };
        if entries.contains_key(&key_form) {
            return fail(format!("insert failed: key {key} already exists"));
        }
        Arc::make_mut(entries).insert(key_form, value);
        Ok(())
    }

    pub fn equals(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        if let (Self::Json(a, Some(a_decl)), Self::Json(b, _)) = (self, other) {
            return equal_declared(self, other, a, b, a_decl);
        }
        let Ok(entries) = self.entries() else { return false };
        entries.into_iter().all(|(key, value)| match other.find(&key) {
            Ok(Some(other)) => value.equals(&other),
            _ => false,
        })
    }
}

fn find_declared<'a>(
    map: &'a serde_json::Map<String, Json>,
    decl: &'a DeclType,
    name: &str,
) -> Result<Option<Value<'a>>> {
    let unescaped;
    let key = if decl.is_object() {
        match crate::escape::unescape(name) {
            Some(key) => {
                unescaped = key;
                unescaped.as_str()
            }
            None => return Ok(None),
        }
    } else if decl.form == Form::Decoded {
        // What is no escape is a name as it stands.
        unescaped = crate::escape::unescape(name).unwrap_or_else(|| name.to_owned());
        unescaped.as_str()
    } else {
        name
    };
    let Some(json) = map.get(key) else { return Ok(None) };
    if decl.is_object() && json.is_null() {
        return Ok(None);
    }
    decl.property(key).map(|property| Value::read(json, Some(property))).transpose()
}

/// Declared properties by their own equality, the rest as JSON.
fn equal_declared(
    a_map: &Map<'_>,
    b_map: &Map<'_>,
    a: &serde_json::Map<String, Json>,
    b: &serde_json::Map<String, Json>,
    decl: &DeclType,
) -> bool {
    a.iter().all(|(key, value)| {
        if decl.property(key).is_none() {
            return b.get(key).is_none_or(|other| other == value);
        }
        let name = if decl.is_object() { crate::escape::escape(key) } else { Some(key.clone()) };
        let Some(name) = name else { return b.get(key) == Some(value) };
        match (a_map.find_str(&name), b_map.find_str(&name)) {
            (Ok(Some(x)), Ok(Some(y))) => x.equals(&y),
            (Ok(None), Ok(None)) => true,
            _ => false,
        }
    })
}
