//! The way from client-side apply to server-side apply, for `kubectl` alone: the annotation in which
//! client-side apply kept what it applied excuses conflicts, and follows what is applied now.

use serde_json::Value;

use super::compare::compare;
use super::conflict::Conflict;
use super::convert::root;
use super::fields::field_set;
use super::set::FieldSet;
use super::update::Write;
use super::validate::validate;
use crate::meta;

/// The manager for whom this is done.
pub const MANAGER: &str = "kubectl";

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// All annotations of an object together (`TotalAnnotationSizeLimitB`).
const MAX_ANNOTATIONS_BYTES: usize = 256 * 1024;

/// The conflicts that are not about fields client-side apply set to what they still are.
pub fn not_excused(write: &Write<'_>, live: &Value, conflicts: Vec<Conflict>) -> Vec<Conflict> {
    match set_by_client(write, live) {
        Some(excused) => conflicts.into_iter().filter(|conflict| !excused.has(&conflict.path)).collect(),
        None => conflicts,
    }
}

fn set_by_client(write: &Write<'_>, live: &Value) -> Option<FieldSet> {
    let last: Value = serde_json::from_str(live["metadata"]["annotations"][ANNOTATION].as_str()?).ok()?;
    if last["apiVersion"] != write.api_version {
        return None;
    }
    let schema = write.versions.schema(write.api_version);
    let ty = root(schema.as_ref());
    if !validate(&last, ty).is_empty() {
        return None;
    }
    let since = compare(&last, live, ty).ok()?;
    Some(field_set(&last, ty).difference(&since.modified).difference(&since.added).difference(&since.removed))
}

/// Where the object carries the annotation, writes what was applied into it.
pub fn follow(object: &mut Value, applied: &Value) {
    if object["metadata"]["annotations"][ANNOTATION].as_str().is_none_or(str::is_empty) {
        return;
    }
    let mut applied = applied.clone();
    if let Some(annotations) = applied.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    let Some(annotations) = meta::metadata_mut(object).get_mut("annotations").and_then(Value::as_object_mut) else {
        return;
    };
    // Go's encoder ends the text with a newline and escapes what HTML would take for its own.
    let text = format!("{applied}\n").replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    annotations.insert(ANNOTATION.to_owned(), text.into());
    let bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if bytes > MAX_ANNOTATIONS_BYTES {
        annotations.remove(ANNOTATION);
    }
}
