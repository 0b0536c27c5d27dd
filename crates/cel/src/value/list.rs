//! Lists: of JSON, or made by the expression.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{Result, Value, fail};
use crate::decl::{DeclType, ListKind};

#[derive(Clone)]
pub enum List<'a> {
    /// Of an object; with a declaration that says how elements read and what equality means.
    Json(&'a [Json], Option<&'a DeclType>),
    Items(Arc<Vec<Value<'a>>>),
}

impl<'a> List<'a> {
    pub fn len(&self) -> usize {
        match self {
            Self::Json(items, _) => items.len(),
            Self::Items(items) => items.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, index: usize) -> Result<Value<'a>> {
        match self {
            Self::Json(items, decl) => match items.get(index) {
                Some(item) => Value::read(item, decl.and_then(DeclType::element)),
                None => fail(format!("index out of bounds: {index}")),
            },
            Self::Items(items) => match items.get(index) {
                Some(item) => Ok(item.clone()),
                None => fail(format!("index out of bounds: {index}")),
            },
        }
    }

    /// The elements; one that does not fit its declaration is `null` here and an error in `get`.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'_, 'a> {
        (0..self.len()).map(|index| self.get(index).unwrap_or(Value::Null))
    }

    pub fn to_vec(&self) -> Result<Vec<Value<'a>>> {
        (0..self.len()).map(|index| self.get(index)).collect()
    }

    pub fn kind(&self) -> &'a ListKind {
        match self {
            Self::Json(_, Some(decl)) => decl.list_kind(),
            _ => &ListKind::Atomic,
        }
    }

    pub fn contains(&self, value: &Value<'a>) -> Result<bool> {
        for index in 0..self.len() {
            if self.get(index)?.equals(value) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `self + other`: sets and maps in list's clothing merge, others append.
    pub fn add(&self, other: &Self) -> Result<Self> {
        let mut items = self.to_vec()?;
        match self.kind() {
            ListKind::Atomic => items.extend(other.to_vec()?),
            ListKind::Set => {
                for value in other.to_vec()? {
                    if !items.iter().any(|item| item.equals(&value)) {
                        items.push(value);
                    }
                }
            }
            ListKind::Map(keys) => {
                for value in other.to_vec()? {
                    let place = items.iter().position(|item| same_key(item, &value, keys));
                    match place {
                        Some(place) => items[place] = value,
                        None => items.push(value),
                    }
                }
            }
        }
        Ok(Self::Items(Arc::new(items)))
    }

    pub fn equals(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        match self.kind() {
            ListKind::Atomic => self.iter().zip(other.iter()).all(|(a, b)| a.equals(&b)),
            ListKind::Set => same_elements(self, other, Value::equals),
            ListKind::Map(keys) => same_elements(self, other, |a, b| same_key(a, b, keys) && a.equals(b)),
        }
    }
}

/// Both lists hold the same, in whatever order.
fn same_elements<'a>(a: &List<'a>, b: &List<'a>, same: impl Fn(&Value<'a>, &Value<'a>) -> bool) -> bool {
    let covered = |a: &List<'a>, b: &List<'a>| a.iter().all(|x| b.iter().any(|y| same(&x, &y)));
    covered(a, b) && covered(b, a)
}

fn same_key(a: &Value<'_>, b: &Value<'_>, keys: &[Arc<str>]) -> bool {
    keys.iter().all(|key| match (a.json_field(key), b.json_field(key)) {
        (Some(a), Some(b)) => a.equals(&b),
        (None, None) => true,
        _ => false,
    })
}
