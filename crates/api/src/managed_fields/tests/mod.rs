//! What upstream's field managers do, told by objects before and after.

mod laws;
mod lists;
mod scenarios;
mod sets;

use serde_json::{Map, Value};

use super::FieldManager;
use crate::kind::Kind;
use crate::status::StatusError;

const DAWN: &str = "2026-01-01T06:00:00Z";
const NOON: &str = "2026-01-01T12:00:00Z";
const DUSK: &str = "2026-01-01T18:00:00Z";

/// The built-in kind of an object.
fn kind_of(object: &Value) -> &'static dyn Kind {
    let api_version = object["apiVersion"].as_str().unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    crate::kinds::by_kind(group, version, object["kind"].as_str().unwrap()).expect("a built-in kind")
}

fn manager<'a>(object: &'a Value, manager: &'a str, now: &'a str) -> FieldManager<'a> {
    let version = object["apiVersion"].as_str().unwrap().rsplit('/').next().unwrap();
    FieldManager { kind: kind_of(object), version, subresource: "", manager, now }
}

/// `new` as `who` creates it.
fn created(who: &str, mut new: Value) -> Value {
    manager(&new.clone(), who, DAWN).on_create(&mut new);
    new
}

/// `live` after `who` changed it.
fn updated(who: &str, live: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut new = live.clone();
    change(&mut new);
    manager(live, who, NOON).on_update(Some(live), &mut new);
    new
}

fn applied(who: &str, live: Option<&Value>, config: &Value) -> Result<Value, StatusError> {
    manager(config, who, DUSK).on_apply(live, config, false)
}

fn forced(who: &str, live: &Value, config: &Value) -> Value {
    manager(config, who, DUSK).on_apply(Some(live), config, true).expect("force has no conflicts")
}

/// `manager/operation[/subresource]` to `fieldsV1`.
fn owners(object: &Value) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let owner = |entry: &Value| {
        let mut id =
            format!("{}/{}", entry["manager"].as_str().unwrap_or_default(), entry["operation"].as_str().unwrap());
        if let Some(subresource) = entry["subresource"].as_str() {
            id = format!("{id}/{subresource}");
        }
        (id, entry["fieldsV1"].clone())
    };
    Value::Object(entries.map(owner).collect::<Map<_, _>>())
}

/// The object without `managedFields`.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    crate::meta::remove(&mut object, "managedFields");
    object
}
