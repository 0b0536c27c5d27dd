//! Putting an applied object over a live one, and taking fields out of an object.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::element::PathElement;
use super::set::FieldSet;
use super::types::{Shape, TypeRef, item_element};
use crate::schema::ListType;

/// `live` with all that `applied` says. What only one of them has stays.
pub fn merge(live: &Value, applied: &Value, ty: TypeRef<'_>) -> Value {
    merge_at(Some(live), Some(applied), ty).unwrap_or_default()
}

fn merge_at(live: Option<&Value>, applied: Option<&Value>, ty: TypeRef<'_>) -> Option<Value> {
    let value = applied.or(live)?;
    let leaf = || Some(value.clone());
    let shape = ty.shape(value);
    match shape {
        Shape::Leaf => leaf(),
        Shape::List(list) => {
            let items = |value: Option<&'_ Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
            let (live, applied) = (items(live), items(applied));
            if live.is_empty() && applied.is_empty() { leaf() } else { Some(merge_items(&live, &applied, list).into()) }
        }
        Shape::Struct(_) | Shape::Map(_) | Shape::DeducedMap => {
            let (live, applied) = (live.and_then(Value::as_object), applied.and_then(Value::as_object));
            let empty = |object: Option<&Map<String, Value>>| object.is_none_or(Map::is_empty);
            if empty(live) && empty(applied) { leaf() } else { Some(merge_fields(live, applied, shape).into()) }
        }
    }
}

fn merge_fields(
    live: Option<&Map<String, Value>>,
    applied: Option<&Map<String, Value>>,
    shape: Shape<'_>,
) -> Map<String, Value> {
    let mut merged = live.cloned().unwrap_or_default();
    for (name, value) in applied.into_iter().flatten() {
        let ty = shape.member(name).unwrap_or(TypeRef::Deduced);
        if let Some(value) = merge_at(merged.get(name), Some(value), ty) {
            merged.insert(name.clone(), value);
        }
    }
    merged
}

/// Items of both lists once. The applied order holds; live items that were not applied stay where they
/// stand among those that were.
fn merge_items(live: &[Value], applied: &[Value], list: &ListType) -> Vec<Value> {
    let elements = |items: &[Value]| -> Vec<Option<PathElement>> {
        items.iter().map(|item| item_element(list, item).ok()).collect()
    };
    let (live_elements, applied_elements) = (elements(live), elements(applied));
    // A live item that is repeated merges with nothing.
    let mut live_by: BTreeMap<&PathElement, Option<&Value>> = BTreeMap::new();
    for (element, item) in live_elements.iter().flatten().zip(live) {
        live_by.entry(element).and_modify(|item| *item = None).or_insert(Some(item));
    }
    let applied_set: BTreeSet<&PathElement> = applied_elements.iter().flatten().collect();
    let mut shared: VecDeque<&PathElement> =
        applied_elements.iter().flatten().filter(|element| live_by.contains_key(*element)).collect();
    let mut next_shared = shared.pop_front();
    let mut done: BTreeSet<&PathElement> = BTreeSet::new();
    let mut merged = Vec::with_capacity(live.len().max(applied.len()));
    let (mut l, mut a) = (0, 0);
    let take = |element: &PathElement, item: &Value| {
        let live = live_by.get(element).copied().flatten();
        merge_at(live, Some(item), TypeRef::Of(&list.item)).unwrap_or_default()
    };
    while l < live.len() || a < applied.len() {
        let left = live_elements.get(l).map(Option::as_ref);
        let right = applied_elements.get(a).map(Option::as_ref);
        if let (Some(Some(left)), Some(Some(right))) = (left, right) {
            if left == right {
                done.insert(right);
                merged.push(take(right, &applied[a]));
                (l, a) = (l + 1, a + 1);
                next_shared = shared.pop_front();
                continue;
            }
            if applied_set.contains(left) && next_shared.is_some_and(|shared| shared != left) {
                // Applied too, but not its turn yet: it comes with the applied items.
                l += 1;
                continue;
            }
        }
        if let Some(left) = left {
            match left {
                Some(element) if applied_set.contains(element) => {
                    if done.contains(element) {
                        l += 1;
                    }
                }
                _ => {
                    merged.push(live[l].clone());
                    l += 1;
                    continue;
                }
            }
        }
        if let Some(right) = right {
            if let Some(element) = right {
                done.insert(element);
                merged.push(take(element, &applied[a]));
                if next_shared == Some(element) {
                    next_shared = shared.pop_front();
                }
            }
            a += 1;
        }
    }
    merged
}

/// What becomes of an object or list inside another one that has lost all it had.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Emptied {
    /// It is null, which still counts as there for those who own it.
    Null,
    Gone,
}

/// `value` without the paths of `gone`; `None` when nothing is left of an object or list.
pub fn remove(value: &Value, gone: &FieldSet, ty: TypeRef<'_>, emptied: Emptied) -> Option<Value> {
    let shape = ty.shape(value);
    match shape {
        Shape::Leaf => (!value.is_array() && !value.is_object()).then(|| value.clone()),
        Shape::List(list) => {
            let kept = value.as_array().into_iter().flatten().filter_map(|item| {
                match item_element(list, item).ok().and_then(|element| gone.get(&element)) {
                    None => Some(item.clone()),
                    Some(entry) if entry.member => None,
                    Some(entry) => remove(item, &entry.children, TypeRef::Of(&list.item), emptied),
                }
            });
            let kept: Vec<Value> = kept.collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        Shape::Struct(_) | Shape::Map(_) | Shape::DeducedMap => {
            let kept = value.as_object().into_iter().flatten().filter_map(|(name, member)| {
                let rest = match gone.get(&PathElement::field(name)) {
                    None => Some(member.clone()),
                    Some(entry) if entry.member => return None,
                    Some(entry) => {
                        let ty = shape.member(name).unwrap_or(TypeRef::Deduced);
                        remove(member, &entry.children, ty, emptied)
                    }
                };
                Some((name.clone(), rest.or_else(|| (emptied == Emptied::Null).then_some(Value::Null))?))
            });
            let kept: Map<String, Value> = kept.collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
    }
}
