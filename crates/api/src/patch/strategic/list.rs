//! Merging lists: items by key or by value, then an order both sides can live with.

use std::collections::BTreeMap;

use serde_json::Value;

use super::schema::Scope;
use super::{
    DIRECTIVE, Error, LIST, OBJECT, Object, SET_ELEMENT_ORDER, directed_field, merge_object, without_directives,
};
use crate::patch::go_format::go_format;

type List = Vec<Value>;

/// Merges every list for which the patch gives an order, and takes both out of the patch.
///
/// Order of the result: `$setElementOrder`, then the patch, then the current list.
pub fn merge_ordered_lists(original: &mut Object, patch: &mut Object, scope: Scope<'_>) -> Result<(), Error> {
    let orders: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ELEMENT_ORDER)).cloned().collect();
    for directive in orders {
        let order = patch.remove(&directive).unwrap_or_default();
        let Value::Array(order) = order else { return Err(Error::bad_type(LIST, &order)) };
        let field = directed_field(&directive, SET_ELEMENT_ORDER).ok_or(Error::SetElementOrder)?;
        let current = original.get(field).map(as_list).transpose()?;
        let patched = patch.get(field).map(as_list).transpose()?;
        let (scope, strategy) = scope.list(field)?;
        let key = strategy.merge_key.as_deref();
        check_order(patched.map_or(&[], Vec::as_slice), &order, key)?;
        let merged = match (current, patched) {
            (None, None) => continue,
            (Some(current), None) => current.clone(),
            (None, Some(patched)) => patched.iter().cloned().filter_map(without_directives).collect(),
            (Some(current), Some(patched)) if strategy.merge => {
                merge_list(current.clone(), patched.clone(), scope, key, false)?
            }
            (Some(_), Some(patched)) => patched.clone(),
        };
        let (current, patched) = (current.map_or(&[][..], Vec::as_slice), patched.map_or(&[][..], Vec::as_slice));
        if current.is_empty() && patched.is_empty() {
            return Err(Error::Other("no elements in any of the given slices".to_owned()));
        }
        are_objects(current, patched)?;
        let ordered = in_order(merged, &order, current, key)?;
        original.insert(field.to_owned(), ordered.into());
        patch.remove(field);
    }
    Ok(())
}

/// Merges two lists; `deletes` takes the items of `patch` away instead.
pub fn merge_list(
    original: List,
    patch: List,
    scope: Scope<'_>,
    key: Option<&str>,
    deletes: bool,
) -> Result<List, Error> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    if !are_objects(&original, &patch)? {
        if deletes {
            let gone = Index::new(&patch, None);
            return Ok(original.into_iter().filter(|item| gone.find(item, None).is_none()).collect());
        }
        let mut merged = original.clone();
        merged.extend(patch.iter().cloned());
        let first = Index::new(&merged, None);
        let keep: Vec<bool> = merged.iter().enumerate().map(|(i, item)| first.find(item, None) == Some(i)).collect();
        let mut keep = keep.into_iter();
        merged.retain(|_| keep.next().unwrap_or(false));
        return in_order(merged, &patch, &original, None);
    }
    let key = key.ok_or_else(|| Error::Other(format!("cannot merge lists without merge key for {}", scope.kind())))?;
    let (original, patch) = run_directives(original, patch, key)?;
    let merged = merge_objects(original.clone(), &patch, scope, key)?;
    in_order(merged, &patch, &original, Some(key))
}

/// `$patch: delete` takes an item out of the list, `$patch: replace` the whole list.
fn run_directives(mut original: List, patch: List, key: &str) -> Result<(List, List), Error> {
    let mut rest = List::new();
    let mut replace = false;
    for item in patch {
        let object = as_object(&item)?;
        let Some(directive) = object.get(DIRECTIVE) else {
            rest.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let gone = object.get(key).ok_or_else(|| Error::no_merge_key(object, key))?;
                original.retain(|item| item.get(key) != Some(gone));
            }
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(Error::Other("merging lists cannot yet be specified in the patch".to_owned()));
            }
            _ => return Err(Error::bad_directive(directive, object)),
        }
    }
    Ok(if replace { (rest, List::new()) } else { (original, rest) })
}

fn merge_objects(mut merged: List, patch: &[Value], scope: Scope<'_>, key: &str) -> Result<List, Error> {
    let mut index = Index::new(&merged, Some(key));
    for item in patch {
        let object = as_object(item)?;
        if !object.contains_key(key) {
            return Err(Error::no_merge_key(object, key));
        }
        match index.find(item, Some(key)) {
            Some(at) => {
                let Value::Object(current) = merged[at].take() else { continue };
                merged[at] = Value::Object(merge_object(current, object.clone(), scope)?);
            }
            None => {
                index.insert(item, Some(key), merged.len());
                merged.push(item.clone());
            }
        }
    }
    Ok(merged)
}

/// The patch's items must stand in `order`, and in that order.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Error> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut items = Vec::with_capacity(patch.len());
    for item in patch {
        let deleted = key.is_some() && as_object(item)?.get(DIRECTIVE).is_some_and(|directive| directive == "delete");
        if !deleted {
            items.push(item);
        }
    }
    let mut items = items.into_iter().peekable();
    for next in order {
        while items.next_if(|item| item.get(DIRECTIVE).is_some()).is_some() {}
        let Some(item) = items.peek() else { return Ok(()) };
        if same_item(item, next, key)? {
            items.next();
        }
    }
    if items.peek().is_none() {
        return Ok(());
    }
    let (patch, order) = (go_format(&patch.into()), go_format(&order.into()));
    Err(Error::Other(format!("The order in patch list:\n{patch}\n doesn't match {SET_ELEMENT_ORDER} list:\n{order}\n")))
}

fn same_item(a: &Value, b: &Value, key: Option<&str>) -> Result<bool, Error> {
    let Some(key) = key else { return Ok(a == b) };
    let of = |item| {
        let object = as_object(item)?;
        object.get(key).ok_or_else(|| Error::no_merge_key(object, key))
    };
    Ok(of(a)? == of(b)?)
}

/// Items named by `patch_order` in that order, the others in `current_order`, woven together so that
/// both orders hold and neighbours of the current list stay neighbours where they can.
fn in_order(items: List, patch_order: &[Value], current_order: &[Value], key: Option<&str>) -> Result<List, Error> {
    if let Some(key) = key {
        for item in items.iter().chain(patch_order).chain(current_order) {
            let object = as_object(item)?;
            object.get(key).ok_or_else(|| Error::no_merge_key(object, key))?;
        }
    }
    let (patch_index, current_index) = (Index::new(patch_order, key), Index::new(current_order, key));
    let (mut ours, mut others): (List, List) =
        items.into_iter().partition(|item| patch_index.find(item, key).is_some());
    ours.sort_by_key(|item| patch_index.find(item, key));
    // Items that stand nowhere go first, as upstream's sort moves them.
    others.sort_by_key(|item| current_index.find(item, key));
    let mut woven = List::with_capacity(ours.len() + others.len());
    let (mut ours, mut others) = (ours.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(our), Some(other)) = (ours.peek(), others.peek()) {
        let other_first = match (current_index.find(other, key), current_index.find(our, key)) {
            (Some(other), Some(our)) => other < our,
            _ => false,
        };
        woven.extend(if other_first { others.next() } else { ours.next() });
    }
    woven.extend(ours);
    woven.extend(others);
    Ok(woven)
}

/// All items must be of one kind, and no lists. Whether they are objects.
fn are_objects(original: &[Value], patch: &[Value]) -> Result<bool, Error> {
    let mut items = original.iter().chain(patch);
    let Some(first) = items.next() else { return Ok(false) };
    if first.is_array() {
        return Err(Error::ListOfLists);
    }
    let kind = |item: &Value| match item {
        Value::Number(number) if number.is_f64() => None,
        other => Some(std::mem::discriminant(other)),
    };
    if items.any(|item| kind(item) != kind(first)) {
        let lists = [go_format(&original.into()), go_format(&patch.into())];
        return Err(Error::Other(format!("list element types are not identical: [{} {}]", lists[0], lists[1])));
    }
    Ok(first.is_object())
}

fn as_list(value: &Value) -> Result<&List, Error> {
    value.as_array().ok_or_else(|| Error::bad_type(LIST, value))
}

fn as_object(value: &Value) -> Result<&Object, Error> {
    value.as_object().ok_or_else(|| Error::bad_type(OBJECT, value))
}

/// Where an item first stands in a list, by its merge key or, for scalars, by itself.
struct Index(BTreeMap<String, usize>);

impl Index {
    fn new(items: &[Value], key: Option<&str>) -> Self {
        let mut index = Self(BTreeMap::new());
        for (i, item) in items.iter().enumerate() {
            index.insert(item, key, i);
        }
        index
    }

    fn insert(&mut self, item: &Value, key: Option<&str>, at: usize) {
        if let Some(identity) = Self::identity(item, key) {
            self.0.entry(identity).or_insert(at);
        }
    }

    fn find(&self, item: &Value, key: Option<&str>) -> Option<usize> {
        self.0.get(&Self::identity(item, key)?).copied()
    }

    /// JSON text tells `"1"` from `1`.
    fn identity(item: &Value, key: Option<&str>) -> Option<String> {
        Some(match key {
            Some(key) => item.get(key)?.to_string(),
            None => item.to_string(),
        })
    }
}
