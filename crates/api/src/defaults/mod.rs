//! Defaults of built-in types.
//!
//! Upstream defaults by type, not by kind: a Probe gets the same defaults wherever it stands. So
//! does this: one function per type ([`rules`]), and one walk over an object that calls it for the
//! type and then for everything inside. What holds no defaulted type is never entered.

mod core;
mod groups;
mod pod_level;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::quantity::Quantity;
use crate::schema::{ObjectRef, Type, builtin};

pub use pod_level::set_pod_level_resources;

type Object = Map<String, Value>;
type Rule = fn(&mut Object);

/// Fills the defaults of `object`, a value of type `ty`. Idempotent.
pub fn apply(ty: &ObjectRef, object: &mut Value) {
    if let (ObjectRef::Builtin(index), Value::Object(map)) = (ty, object) {
        PLANS.object(*index, map);
    }
}

/// Every rule with the OpenAPI name of its type.
fn rules() -> impl Iterator<Item = (String, Rule)> {
    let with_prefix = |(prefix, rules): (&'static str, &'static [(&'static str, Rule)])| {
        rules.iter().map(move |(name, rule)| (format!("{prefix}{name}"), *rule))
    };
    std::iter::once(core::RULES).chain(groups::RULES.iter().copied()).flat_map(with_prefix)
}

/// What to do for each built-in type that is, or holds, one with defaults.
struct Plans(BTreeMap<u16, Plan>);

#[derive(Default)]
struct Plan {
    rule: Option<Rule>,
    /// Fields to enter.
    inside: Vec<(&'static str, &'static Type)>,
}

static PLANS: LazyLock<Plans> = LazyLock::new(Plans::make);

impl Plans {
    fn make() -> Self {
        let registry = builtin();
        let rules: BTreeMap<u16, Rule> =
            rules().filter_map(|(name, rule)| Some((*registry.by_name.get(&name)?, rule))).collect();
        let indexes = || 0..u16::try_from(registry.types.len()).expect("fewer than 65,536 types");
        let mut wanted: Vec<bool> = indexes().map(|index| rules.contains_key(&index)).collect();
        // Types may hold each other: widen until nothing more is reached.
        loop {
            let reached: Vec<usize> = indexes()
                .map(usize::from)
                .filter(|i| !wanted[*i] && registry.types[*i].fields.iter().any(|f| leads_to(&f.ty, &wanted)))
                .collect();
            if reached.is_empty() {
                break;
            }
            reached.into_iter().for_each(|i| wanted[i] = true);
        }
        let plan = |index: u16| {
            let fields = registry.types[usize::from(index)].fields.iter().filter(|f| !f.inline);
            let inside = fields.filter(|f| leads_to(&f.ty, &wanted)).map(|f| (f.json.as_str(), &f.ty)).collect();
            (index, Plan { rule: rules.get(&index).copied(), inside })
        };
        Self(indexes().filter(|i| wanted[usize::from(*i)]).map(plan).collect())
    }

    fn object(&self, index: u16, map: &mut Object) {
        let Some(plan) = self.0.get(&index) else { return };
        if let Some(rule) = plan.rule {
            rule(map);
        }
        for (name, ty) in &plan.inside {
            if let Some(value) = map.get_mut(*name) {
                self.value(ty, value);
            }
        }
    }

    fn value(&self, ty: &Type, value: &mut Value) {
        match (ty, value) {
            (Type::Object(ObjectRef::Builtin(index)), Value::Object(map)) => self.object(*index, map),
            (Type::List(list), Value::Array(items)) => items.iter_mut().for_each(|item| self.value(&list.item, item)),
            (Type::Map(map), Value::Object(entries)) if matches!(map.value, Type::Quantity) => {
                entries.values_mut().for_each(round_up_to_milli);
            }
            (Type::Map(map), Value::Object(entries)) => entries.values_mut().for_each(|v| self.value(&map.value, v)),
            _ => {}
        }
    }
}

fn leads_to(ty: &Type, wanted: &[bool]) -> bool {
    match ty {
        Type::Object(ObjectRef::Builtin(index)) => wanted[usize::from(*index)],
        Type::List(list) => leads_to(&list.item, wanted),
        Type::Map(map) => matches!(map.value, Type::Quantity) || leads_to(&map.value, wanted),
        _ => false,
    }
}

/// Resource lists know nothing below a thousandth (kubernetes#18538).
fn round_up_to_milli(value: &mut Value) {
    let Some(text) = value.as_str() else { return };
    // Only a suffix or a long fraction can say less than a thousandth.
    let is_fine = text.ends_with(['n', 'u']) || text.contains(['.', 'e', 'E']);
    if let Some(mut quantity) = is_fine.then(|| Quantity::parse(text).ok()).flatten()
        && !quantity.round_up(-3)
    {
        *value = quantity.to_string().into();
    }
}

/// Sets what is absent (or null).
fn set(map: &mut Object, field: &str, value: impl Into<Value>) {
    if map.get(field).is_none_or(Value::is_null) {
        map.insert(field.to_owned(), value.into());
    }
}

/// Sets what is absent or the empty text.
fn set_text(map: &mut Object, field: &str, value: &str) {
    if text(map, field).is_empty() {
        map.insert(field.to_owned(), value.into());
    }
}

/// Sets what is absent or zero.
fn set_number(map: &mut Object, field: &str, value: i64) {
    if map.get(field).and_then(Value::as_i64).unwrap_or(0) == 0 {
        map.insert(field.to_owned(), value.into());
    }
}

fn text<'a>(map: &'a Object, field: &str) -> &'a str {
    map.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn has(map: &Object, field: &str) -> bool {
    map.get(field).is_some_and(|v| !v.is_null())
}

/// A child object for writing, made when absent.
fn child<'a>(map: &'a mut Object, field: &str) -> &'a mut Object {
    let slot = map.entry(field).or_insert_with(|| Value::Object(Object::new()));
    if !slot.is_object() {
        *slot = Value::Object(Object::new());
    }
    slot.as_object_mut().expect("made an object above")
}

/// A child object for writing, if it is there.
fn existing<'a>(map: &'a mut Object, field: &str) -> Option<&'a mut Object> {
    map.get_mut(field)?.as_object_mut()
}

fn is_empty(map: &Object, field: &str) -> bool {
    match map.get(field) {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(entries)) => entries.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests;
