//! Objects that are there but cannot be read: their bytes were sealed by a key that nobody has any more. They are
//! named, and hide no others (KEP 3926; `k8s.io/apiserver/pkg/storage/etcd3/corrupt_obj_deleter.go`).

use std::sync::Arc;

use orlop_api::status::StatusError;
use orlop_store::Entry;
use serde_json::{Value, json};

use crate::resource::Resource;

/// Objects named in one answer.
const MAX_NAMED: usize = 100;

/// What upstream's store says of one object.
fn storage_error(entry: &Entry) -> Option<String> {
    let why = entry.unreadable()?;
    Some(format!(
        "StorageError: corrupt object, Code: 7, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: data from the storage \
         is not transformable revision=0: {why}",
        entry.key.path()
    ))
}

/// 500 for an object that cannot be read.
pub fn check(entry: &Entry) -> Result<(), StatusError> {
    storage_error(entry).map_or(Ok(()), |why| Err(StatusError::internal(why)))
}

/// 500 that names all that cannot be read of a list.
pub fn check_all(resource: &Resource, entries: &[Arc<Entry>]) -> Result<(), StatusError> {
    let mut broken = entries.iter().filter_map(|entry| Some((entry.key.path(), storage_error(entry)?)));
    let Some((path, first)) = broken.next() else { return Ok(()) };
    let cause =
        |path: String, message: &str| json!({"reason": "UnexpectedServerResponse", "message": message, "field": path});
    let mut causes = vec![cause(path, &first)];
    causes.extend(broken.by_ref().take(MAX_NAMED - 1).map(|(path, why)| cause(path, &why)));
    let group_resource = resource.group_resource();
    let mut message = format!("failed to read one or more {group_resource} from the storage: {first}");
    if causes.len() > 1 {
        message.push_str(&format!(" (and {} more)", causes.len() - 1));
    }
    if broken.next().is_some() {
        causes.push(json!({"reason": "FieldValueTooMany", "message": "too many errors, the list is truncated"}));
    }
    let mut details = json!({"name": "list", "group": group_resource.group, "kind": group_resource.resource});
    if group_resource.group.is_empty() {
        details.as_object_mut().map(|fields| fields.remove("group"));
    }
    details["causes"] = Value::from(causes);
    Err(StatusError::new(500, "StorageReadError", message).with_details(details))
}
