//! The set of fields an applied object names.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::element::PathElement;
use super::set::FieldSet;
use super::types::{Shape, TypeRef, item_element};

/// All paths of `value`: every leaf, every item of a list, every key of a map.
pub fn field_set(value: &Value, ty: TypeRef<'_>) -> FieldSet {
    below(value, ty).unwrap_or_default()
}

/// Paths below a value; `None` for a leaf, whose own path is the one.
fn below(value: &Value, ty: TypeRef<'_>) -> Option<FieldSet> {
    let shape = ty.shape(value);
    let mut set = FieldSet::default();
    match shape {
        Shape::Leaf => return None,
        Shape::Struct(_) | Shape::Map(_) | Shape::DeducedMap => {
            for (name, member) in value.as_object().into_iter().flatten() {
                let children = shape.member(name).and_then(|ty| below(member, ty));
                let empty = member.is_null() || member.as_object().is_some_and(Map::is_empty);
                let own = children.is_none() || empty || !shape.declares(name);
                set.push(|| PathElement::field(name), own, children.unwrap_or_default());
            }
        }
        Shape::List(list) => {
            let (mut seen, mut repeated) = (BTreeSet::new(), BTreeSet::new());
            let items = value.as_array().map_or(&[][..], Vec::as_slice);
            let elements: Vec<_> =
                items.iter().filter_map(|item| Some((item_element(list, item).ok()?, item))).collect();
            for (element, _) in &elements {
                if !seen.insert(element) {
                    repeated.insert(element);
                }
            }
            for (element, item) in elements.iter().filter(|(element, _)| !repeated.contains(element)) {
                set.push(|| element.clone(), true, below(item, TypeRef::Of(&list.item)).unwrap_or_default());
            }
            for element in repeated {
                set.push(|| element.clone(), true, FieldSet::default());
            }
            set.sort();
        }
    }
    Some(set)
}

/// The set with every declared field that has members below it made a member itself.
pub fn with_named_fields(set: FieldSet, ty: Option<TypeRef<'_>>) -> FieldSet {
    let object = Value::Object(Map::new());
    let list = Value::Array(Vec::new());
    let entries = set.entries.into_iter().map(|mut entry| {
        let (named, child) = match (&entry.element, ty) {
            (PathElement::Field(name), Some(ty)) => {
                let shape = ty.shape(&object);
                (shape.declares(name), shape.member(name))
            }
            (PathElement::Key(_), Some(ty)) => match ty.shape(&list) {
                Shape::List(list) => (false, Some(TypeRef::Of(&list.item))),
                _ => (false, None),
            },
            _ => (false, None),
        };
        entry.member |= named && !entry.children.is_empty();
        entry.children = with_named_fields(entry.children, child);
        entry
    });
    FieldSet { entries: entries.collect() }
}
