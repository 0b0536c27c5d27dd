//! Namespaces.

use serde_json::Value;

use super::prelude::*;
use crate::meta;
use crate::object_meta::label_rule;

pub(crate) fn namespace(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, label_rule, errors);
    for name in texts(obj, "spec.finalizers") {
        finalizer(name, &Path::new("spec.finalizers"), errors);
    }
}

pub(crate) fn update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    namespace(obj, errors);
    metadata_update(obj, old, errors);
}

pub(crate) fn status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let (path, phase) = (Path::new("status.Phase"), obj.text("status.phase"));
    if meta::is_terminating(obj) {
        if phase != "Terminating" {
            errors.invalid(&path, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty");
        }
    } else if phase != "Active" {
        errors.invalid(&path, phase, "may only be 'Active' if `deletionTimestamp` is empty");
    }
}

pub(crate) fn finalize(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let path = Path::new("spec.finalizers");
    for (i, name) in texts(obj, "spec.finalizers").enumerate() {
        finalizer(name, &path.index(i), errors);
    }
}

fn finalizer(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    qualified_name(name, path, errors);
    kube_finalizer(name, path, errors);
}
