//! What an update changed: one walk over both objects that allocates for differences only.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::element::{PathElement, same_value};
use super::set::FieldSet;
use super::types::{Shape, TypeRef, is_zero, item_element, null_when_unset};
use crate::schema::{Field, ListType, ObjectType, Type};

/// The paths in which two objects differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub removed: FieldSet,
    /// In both, with another value.
    pub modified: FieldSet,
    pub added: FieldSet,
}

impl Comparison {
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }

    #[must_use]
    pub fn map(self, f: impl Fn(FieldSet) -> FieldSet) -> Self {
        Self { removed: f(self.removed), modified: f(self.modified), added: f(self.added) }
    }

    /// What the new object says otherwise than the old one.
    pub fn set_by_new(&self) -> FieldSet {
        self.modified.clone().union(self.added.clone())
    }

    fn attach(&mut self, element: impl Fn() -> PathElement, changes: Changes) {
        self.removed.push(&element, changes.removed, changes.below.removed);
        self.modified.push(&element, changes.modified, changes.below.modified);
        self.added.push(&element, changes.added, changes.below.added);
    }
}

/// Changes at one point and below it.
#[derive(Default)]
struct Changes {
    removed: bool,
    modified: bool,
    added: bool,
    below: Comparison,
}

/// Why two objects cannot be compared: an item of a keyed list that nothing tells from the others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompareError(String);

type Result<T> = std::result::Result<T, CompareError>;
type Object = Map<String, Value>;

/// Fields that the server alone writes, and which therefore nobody owns.
const UNOWNED: [&str; 2] = ["apiVersion", "kind"];
const UNOWNED_METADATA: [&str; 9] = [
    "clusterName",
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// What nobody owns, as a set.
pub fn unowned_fields() -> FieldSet {
    let mut set = FieldSet::of_fields(&UNOWNED).union(FieldSet::of_fields(&["metadata"]));
    for field in UNOWNED_METADATA {
        set.insert(&[PathElement::field("metadata"), PathElement::field(field)]);
    }
    set
}

static NOTHING: LazyLock<Value> = LazyLock::new(|| Value::Object(Object::new()));

/// Compares two whole objects but for what nobody owns and the top-level fields `ignored`.
pub fn compare_objects(old: &Value, new: &Value, ty: TypeRef<'_>, ignored: &[&str]) -> Result<Comparison> {
    let shape = ty.shape(&NOTHING);
    let skip = |field: &str| UNOWNED.contains(&field) || field == "metadata" || ignored.contains(&field);
    let mut found = walk_fields(old.as_object(), new.as_object(), shape, skip)?;
    if let Some(ty) = shape.member("metadata").filter(|_| !ignored.contains(&"metadata")) {
        let (old, new) = (metadata(old), metadata(new));
        let below = walk_fields(old, new, ty.shape(&NOTHING), |field| UNOWNED_METADATA.contains(&field))?;
        found.attach(|| PathElement::field("metadata"), Changes { below, ..Changes::default() });
        found = found.map(|mut set| {
            set.sort();
            set
        });
    }
    Ok(found)
}

/// Compares all of two values.
pub fn compare(old: &Value, new: &Value, ty: TypeRef<'_>) -> Result<Comparison> {
    Ok(walk(Some(old), Some(new), ty)?.below)
}

fn walk(old: Option<&Value>, new: Option<&Value>, ty: TypeRef<'_>) -> Result<Changes> {
    let shapes = (old.map(|old| ty.shape(old)), new.map(|new| ty.shape(new)));
    match shapes {
        (Some(a), Some(b)) if std::mem::discriminant(&a) != std::mem::discriminant(&b) => {
            // One was an object with parts and the other is not: the parts go (or come), the value changes.
            let (gone, came) = (walk_shape(old, new, a, ty)?, walk_shape(old, new, b, ty)?);
            let below = Comparison {
                removed: gone.below.removed.union(came.below.removed),
                modified: gone.below.modified.union(came.below.modified),
                added: gone.below.added.union(came.below.added),
            };
            Ok(Changes { modified: gone.modified || came.modified, below, ..Changes::default() })
        }
        (_, Some(shape)) | (Some(shape), None) => walk_shape(old, new, shape, ty),
        (None, None) => Ok(Changes::default()),
    }
}

fn walk_shape(old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>, ty: TypeRef<'_>) -> Result<Changes> {
    let below = match shape {
        Shape::Leaf => None,
        Shape::List(list) => {
            let (old, new) = (list_items(old), list_items(new));
            if old.is_empty() && new.is_empty() { None } else { Some(walk_items(old, new, list)?) }
        }
        Shape::Struct(_) | Shape::Map(_) | Shape::DeducedMap => {
            let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
            let empty = |object: Option<&Object>| object.is_none_or(Object::is_empty);
            if empty(old) && empty(new) { None } else { Some(walk_fields(old, new, shape, |_| false)?) }
        }
    };
    let differs = |old, new| !same_value(old, new) && !same_as_written(old, new, ty);
    let modified = below.is_none() && matches!((old, new), (Some(old), Some(new)) if differs(old, new));
    Ok(Changes { removed: new.is_none(), modified, added: old.is_none(), below: below.unwrap_or_default() })
}

fn walk_fields(
    old: Option<&Object>,
    new: Option<&Object>,
    shape: Shape<'_>,
    skip: impl Fn(&str) -> bool,
) -> Result<Comparison> {
    let mut found = Comparison::default();
    let both = old.is_some() && new.is_some();
    for (field, old, new) in zip(old, new).filter(|(field, ..)| !skip(field)) {
        let Some(ty) = shape.member(field) else { continue };
        let (old, new) = match shape {
            Shape::Struct(object) => {
                let (old, new) = (written(object, field, old), written(object, field, new));
                if both { with_zero_values(object, field, old, new) } else { (old, new) }
            }
            _ => (old, new),
        };
        if old.is_none() && new.is_none() {
            continue;
        }
        found.attach(|| PathElement::field(field), walk(old, new, ty)?);
    }
    if let (Shape::Struct(object), Some(value)) = (shape, old.xor(new)) {
        let nulls = if new.is_some() { &mut found.added } else { &mut found.removed };
        add_unset(nulls, object, value, skip);
    }
    Ok(found)
}

/// Whether Go would write two objects alike: without empty lists and maps that count but are left out.
fn same_as_written(old: &Value, new: &Value, ty: TypeRef<'_>) -> bool {
    let TypeRef::Of(Type::Object(object)) = ty else { return false };
    let written = |value: &Value| {
        let mut value = value.clone();
        crate::codec::json::settle(&mut value, object.get(), true);
        value
    };
    written(old) == written(new)
}

/// What Go would write of a field: not an empty list or map that is left out.
fn written<'a>(object: &ObjectType, field: &str, value: Option<&'a Value>) -> Option<&'a Value> {
    value.filter(|value| {
        let empty = match value {
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            _ => false,
        };
        let left_out = |field: &Field| field.omit_empty && matches!(field.ty, Type::List(_) | Type::Map(_));
        !(empty && object.field(field).is_some_and(left_out))
    })
}

/// Adds the fields that Go writes as null.
fn add_unset(set: &mut FieldSet, object: &ObjectType, value: &Object, skip: impl Fn(&str) -> bool) {
    let unset = |field: &&Field| null_when_unset(field) && !value.contains_key(&field.json) && !skip(&field.json);
    let before = set.entries.len();
    for field in object.fields.iter().filter(unset) {
        set.push(|| PathElement::field(&field.json), true, FieldSet::default());
    }
    if set.entries.len() > before {
        set.sort();
    }
}

/// In Go a struct's fields are always there: a struct inside a struct, and all that is never left out.
/// Where one side lacks such a field, it has the zero value.
fn with_zero_values<'a>(
    object: &ObjectType,
    field: &str,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
) -> (Option<&'a Value>, Option<&'a Value>) {
    let (Some(value), Some(field)) = (old.xor(new), object.field(field)) else { return (old, new) };
    if matches!(field.ty, Type::Object(_)) && !field.pointer {
        return (old.or(Some(&NOTHING)), new.or(Some(&NOTHING)));
    }
    match (field.omit_empty && !null_when_unset(field), is_zero(value)) {
        (true, _) => (old, new),
        (false, true) => (None, None),
        (false, false) => (old.or(Some(&Value::Null)), new.or(Some(&Value::Null))),
    }
}

fn walk_items(old: &[Value], new: &[Value], list: &ListType) -> Result<Comparison> {
    if old == new {
        return Ok(Comparison::default());
    }
    let mut items: BTreeMap<PathElement, [Vec<&Value>; 2]> = BTreeMap::new();
    for (side, values) in [old, new].into_iter().enumerate() {
        for (i, value) in values.iter().enumerate() {
            let element = item_element(list, value).map_err(|why| CompareError(format!("element {i}: {why}")))?;
            items.entry(element).or_default()[side].push(value);
        }
    }
    let mut found = Comparison::default();
    for (element, [old, new]) in items {
        let changes = match (old.as_slice(), new.as_slice()) {
            // Repeated items are one value together.
            ([_, _, ..], [_, _, ..]) => Changes { modified: old != new, ..Changes::default() },
            ([_, _, ..], _) => Changes { removed: true, ..walk(None, new.first().copied(), TypeRef::Of(&list.item))? },
            (_, [_, _, ..]) => Changes { added: true, ..walk(old.first().copied(), None, TypeRef::Of(&list.item))? },
            _ => walk(old.first().copied(), new.first().copied(), TypeRef::Of(&list.item))?,
        };
        found.attach(|| element.clone(), changes);
    }
    Ok(found)
}

fn metadata(object: &Value) -> Option<&Object> {
    object.get("metadata").and_then(Value::as_object)
}

fn list_items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The fields of both objects in order.
fn zip<'a>(
    old: Option<&'a Object>,
    new: Option<&'a Object>,
) -> impl Iterator<Item = (&'a str, Option<&'a Value>, Option<&'a Value>)> {
    let mut old = old.into_iter().flatten().peekable();
    let mut new = new.into_iter().flatten().peekable();
    std::iter::from_fn(move || {
        let field = match (old.peek(), new.peek()) {
            (Some((a, _)), Some((b, _))) => (*a).min(*b).as_str(),
            (Some((a, _)), None) => a.as_str(),
            (None, Some((b, _))) => b.as_str(),
            (None, None) => return None,
        };
        Some((field, take_if(&mut old, field), take_if(&mut new, field)))
    })
}

fn take_if<'a>(fields: &mut Peekable<impl Iterator<Item = (&'a String, &'a Value)>>, field: &str) -> Option<&'a Value> {
    fields.next_if(|(name, _)| *name == field).map(|(_, value)| value)
}
