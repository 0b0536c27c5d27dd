//! Apply: merge, prune what is no longer applied, and see whom that concerns.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::{CompareError, unowned_fields};
use super::conflict::Conflict;
use super::convert::root;
use super::element::same_value;
use super::entries::{ManagerId, Managers, Owned};
use super::fields::{field_set, with_named_fields};
use super::manager::group_version_kind;
use super::merge::{Emptied, merge, remove};
use super::set::FieldSet;
use super::types::TypeRef;
use super::update::{Write, take_from_others};
use super::validate;
use crate::codec::json::reread;
use crate::schema::ObjectRef;
use crate::status::StatusError;

/// Why an apply was not done.
pub enum Applied {
    Conflicts(Vec<Conflict>),
    Error(StatusError),
}

impl From<CompareError> for Applied {
    fn from(error: CompareError) -> Self {
        Self::Error(StatusError::new(500, "", format!("failed to compare objects: {error}")))
    }
}

/// The new object (`None` when it is the live one) and who owns what of it. Both objects are of the
/// write's version and bare of `managedFields`.
pub fn apply(
    write: &Write<'_>,
    live: &Value,
    applied: &Value,
    mut managers: Managers,
    manager: &ManagerId,
    force: bool,
) -> Result<(Option<Value>, Managers), Applied> {
    let schema = write.versions.schema(write.api_version);
    let ty = root(schema.as_ref());
    check(applied, ty)?;
    let merged = merge(live, applied, ty);
    let last = managers.remove(manager);
    let time = last.as_ref().and_then(|last| last.time.clone());
    let owned = Owned::new(write.api_version, write.filter(field_set(applied, ty)), time);
    managers.insert(manager.clone(), owned);
    let new = match &last {
        Some(last) => prune(write, merged, &managers, last),
        None => merged,
    };
    if let Some(comparison) = write.compare(live, &new, write.api_version)? {
        let conflicts = take_from_others(write, live, &new, comparison, &mut managers, manager)?;
        if !conflicts.is_empty() && !force {
            return Err(Applied::Conflicts(conflicts));
        }
    }
    if let Some(owned) = managers.get_mut(manager) {
        owned.change(|set| set.difference(&unowned_fields()));
    }
    super::entries::drop_empty(&mut managers);
    if same_value(live, &new) {
        return Ok((None, managers));
    }
    Ok((Some(written(new, schema.as_ref())?), managers))
}

/// The object as its type writes it. Live values are that already, applied ones may not be.
fn written(object: Value, schema: Option<&ObjectRef>) -> Result<Value, Applied> {
    let Some(schema @ ObjectRef::Builtin(_)) = schema else { return Ok(object) };
    reread(&object, schema.get()).map_err(|why| {
        let (name, gvk) = names(&object);
        let object = format!("failed to convert new object ({name}; {gvk}) to proper version");
        let message = format!("{object}: unable to convert unstructured object to {gvk}: {why}");
        Applied::Error(StatusError::new(500, "", message))
    })
}

fn check(applied: &Value, ty: TypeRef<'_>) -> Result<(), Applied> {
    let errors = validate::validate(applied, ty);
    if errors.is_empty() {
        return Ok(());
    }
    let (name, gvk) = names(applied);
    let message = format!("failed to create typed patch object ({name}; {gvk}): {}", validate::print(&errors));
    Err(Applied::Error(StatusError::new(500, "", message)))
}

/// `default/web` and `apps/v1, Kind=Deployment`.
fn names(object: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let name = format!("{}/{}", text(&metadata["namespace"]), text(&metadata["name"]));
    (name, group_version_kind(&text(&object["apiVersion"]), &text(&object["kind"])))
}

/// Removes what this manager applied last time and not this time, unless another one owns it. The
/// result is of the write's version.
fn prune(write: &Write<'_>, merged: Value, managers: &Managers, last: &Owned) -> Value {
    if last.set().is_empty() {
        return merged;
    }
    let versions = write.versions;
    let Some(in_last) = versions.convert(&merged, &last.api_version).map(std::borrow::Cow::into_owned) else {
        return merged;
    };
    let schema = versions.schema(&last.api_version);
    let ty = root(schema.as_ref());
    let last_set = with_named_fields(last.set(), Some(ty));
    let pruned = without(&in_last, &last_set, schema.as_ref());
    let pruned = add_back_owned(write, &in_last, pruned, managers, &last.api_version);
    // Only what this manager had may go.
    let Some(pruned) = versions.convert(&pruned, &last.api_version) else { return merged };
    let of = |value: &Value| with_named_fields(field_set(value, ty), Some(ty));
    let gone = of(&in_last).difference(&of(&pruned)).intersection(&last_set);
    let result = without(&in_last, &gone, schema.as_ref());
    versions.convert(&result, write.api_version).map_or(merged, std::borrow::Cow::into_owned)
}

/// Puts back what `pruned` lacks of `merged` and someone owns, version by version, that of `first` first.
fn add_back_owned(write: &Write<'_>, merged: &Value, mut pruned: Value, managers: &Managers, first: &str) -> Value {
    let mut owned: BTreeMap<&str, FieldSet> = BTreeMap::new();
    for entry in managers.values() {
        let set = owned.remove(entry.api_version.as_str()).unwrap_or_default();
        owned.insert(&entry.api_version, set.union(entry.set()));
    }
    let first = owned.remove_entry(first);
    for (api_version, owned) in first.into_iter().chain(owned) {
        let versions = write.versions;
        let (Some(whole), Some(part)) = (versions.convert(merged, api_version), versions.convert(&pruned, api_version))
        else {
            continue;
        };
        let schema = versions.schema(api_version);
        let ty = root(schema.as_ref());
        let named = |set| with_named_fields(set, Some(ty));
        let kept = named(field_set(&part, ty)).union(named(owned));
        pruned = without(&whole, &named(field_set(&whole, ty)).difference(&kept), schema.as_ref());
    }
    pruned
}

/// [`remove`] for a whole object, which keeps its version whatever goes.
fn without(object: &Value, gone: &FieldSet, schema: Option<&ObjectRef>) -> Value {
    // In built-in types nulls vanish when the object is written; in custom resources one could mean something.
    let emptied = if matches!(schema, Some(ObjectRef::Builtin(_))) { Emptied::Null } else { Emptied::Gone };
    let mut rest = remove(object, gone, root(schema), emptied).unwrap_or_default();
    for field in ["apiVersion", "kind"] {
        crate::kind::keep_old_at(&mut rest, object, field);
    }
    rest
}
