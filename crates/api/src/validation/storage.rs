//! PersistentVolumeClaims, StorageClasses, and PriorityClasses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::claim::{ClaimOptions, claim_spec};
use super::diff::diff;
use super::prelude::*;
use super::resources::{is_native, quantity, resource_amount};
use super::selector::label_selector;
use super::volume_warnings;
use crate::equality::same;
use crate::kind::keep_old_at;
use crate::kinds::read::annotation;
use crate::names;
use crate::object_meta::subdomain_rule;
use crate::quantity::Quantity;

pub(crate) fn claim(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    claim_spec(&obj["spec"], &Path::new("spec"), ClaimOptions::default(), errors);
}

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

pub(crate) fn claim_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let mut before = ErrorList::default();
    label_selector(old.at("spec.selector"), false, &Path::default(), &mut before);
    let options = ClaimOptions {
        allow_bad_selector: !before.is_empty(),
        allow_bad_api_group: old.has("spec.dataSource.apiGroup") || old.has("spec.dataSourceRef.apiGroup"),
    };
    metadata(obj, true, subdomain_rule, errors);
    claim_spec(&obj["spec"], &Path::new("spec"), options, errors);
    let (new_spec, old_spec) = allowed_changes(obj, old, errors);
    if !same(&new_spec, &old_spec) {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                      bound claims";
        errors.forbidden(&Path::new("spec"), format!("{detail}\n{}", diff(&old_spec, &new_spec)));
    }
    let size = |obj: &Value, path: &str| quantity(obj.map(path).get("storage").unwrap_or(&Value::Null));
    let (new, was) = (size(obj, "spec.resources.requests"), size(old, "spec.resources.requests"));
    // A claim that could not grow may ask for less again, but never for less than it has (KEP 1790).
    if new < was && new <= size(old, "status.capacity") {
        let path = Path::new("spec.resources.requests.storage");
        errors.forbidden(&path, "field can not be less than status.capacity");
    }
    immutable(obj.at("spec.volumeMode"), old.at("spec.volumeMode"), &Path::new("volumeMode"), errors);
    attributes_class(obj, old, errors);
}

fn attributes_class(obj: &Value, old: &Value, errors: &mut ErrorList) {
    let (new, was) = (obj.at("spec.volumeAttributesClassName"), old.at("spec.volumeAttributesClassName"));
    if new == was || !old.has("status.currentVolumeAttributesClassName") {
        return;
    }
    let what = match new.as_str() {
        None => "nil",
        Some("") => "empty string",
        Some(_) => return,
    };
    let detail = format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil");
    errors.forbidden(&Path::new("spec.volumeAttributesClassName"), detail);
}

/// Both specs, with what may differ made the same.
fn allowed_changes(obj: &Value, old: &Value, errors: &mut ErrorList) -> (Value, Value) {
    let (mut new, mut was) = (obj["spec"].clone(), old["spec"].clone());
    if was.text("volumeName").is_empty() {
        keep_old_at(&mut was, &new, "volumeName");
    }
    let has_annotation = |obj: &Value| obj.map("metadata.annotations").contains_key(CLASS_ANNOTATION);
    let (text, old_text) = (annotation(obj, CLASS_ANNOTATION), annotation(old, CLASS_ANNOTATION));
    let class = new.text("storageClassName").to_owned();
    let named_now = new.has("storageClassName") && !was.has("storageClassName");
    if has_annotation(old) && named_now && class == old_text && (!has_annotation(obj) || text == old_text) {
        keep_old_at(&mut new, &was, "storageClassName");
    } else {
        if text != old_text {
            let path = Path::new("metadata.annotations");
            errors.invalid(&path.child(CLASS_ANNOTATION), text, IMMUTABLE);
        }
        if named_now && (!has_annotation(old) || class == old_text) {
            keep_old_at(&mut new, &was, "storageClassName");
        }
    }
    if obj.text("status.phase") == "Bound" {
        if new.has("resources.requests") {
            keep_old_at(&mut new, &was, "resources.requests.storage");
        }
        keep_old_at(&mut new, &was, "volumeAttributesClassName");
    }
    (new, was)
}

pub(crate) fn claim_status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    if obj.list("spec.accessModes").is_empty() {
        errors.required(&Path::new("Spec.accessModes"), "");
    }
    let unfit = |size: &Quantity, path: &Path<'_>, errors: &mut ErrorList| {
        if size.sign() < 0 {
            errors.invalid(path, size.value(), "must be a valid resource quantity");
        }
        size.sign() < 0
    };
    let path = Path::new("status.capacity");
    for (name, size) in obj.map("status.capacity") {
        unfit(&quantity(size), &path.key(name), errors);
    }
    let path = Path::new("status.allocatedResourceStatuses");
    for (name, status) in obj.map("status.allocatedResourceStatuses") {
        allocated(name, &path, errors);
        if !status.as_str().is_some_and(|status| RESIZE_STATUSES.contains(&status)) {
            // Upstream shows the resource in the place of its status.
            errors.not_supported(&path, name.as_str(), RESIZE_STATUSES);
        }
    }
    let path = Path::new("status.allocatedResources");
    for (name, size) in obj.map("status.allocatedResources") {
        let (size, at) = (quantity(size), path.key(name));
        if allocated(name, &path, errors) && !unfit(&size, &at, errors) {
            resource_amount("storage", &size, &at, errors);
        }
    }
}

const RESIZE_STATUSES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

/// Whether this may be the name of what is allocated to a claim.
fn allocated(name: &str, path: &Path<'_>, errors: &mut ErrorList) -> bool {
    let broken = names::qualified_name(name);
    let fits = broken.is_empty();
    errors.each_invalid(path, name, broken);
    if fits && is_native(name) && name != "storage" {
        errors.not_supported(path, name, &["storage"]);
        return false;
    }
    fits
}

pub(crate) fn claim_warnings(obj: &Value, _: Option<&Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    if obj.map("metadata.annotations").contains_key(CLASS_ANNOTATION) {
        warnings.push(format!(
            "metadata.annotations[{CLASS_ANNOTATION}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        ));
    }
    volume_warnings::claim(&obj["spec"], &Path::new("spec"), &mut warnings);
    warnings
}

const MAX_PARAMETERS: usize = 512;
const MAX_PARAMETERS_SIZE: usize = 256 * 1024;

pub(crate) fn class(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    if !obj.text("provisioner").is_empty() {
        qualified_name(&obj.text("provisioner").to_lowercase(), &Path::new("provisioner"), errors);
    }
    parameters(obj, &Path::new("parameters"), errors);
    let at = Path::new("reclaimPolicy");
    if !obj.text("reclaimPolicy").is_empty() {
        one_of(obj.text("reclaimPolicy"), &["Delete", "Retain"], &at, errors);
    }
    let at = Path::new("volumeBindingMode");
    if !obj.has("volumeBindingMode") {
        errors.required(&at, "");
    }
    optional_one_of(&obj["volumeBindingMode"], &["Immediate", "WaitForFirstConsumer"], &at, errors);
    topologies(obj, errors);
    required(obj, "provisioner", &Path::default(), errors);
}

/// A VolumeAttributesClass.
pub(crate) fn volume_class(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    match obj.text("driverName") {
        "" => errors.required(&Path::new("driverName"), ""),
        name => qualified_name(&name.to_lowercase(), &Path::new("driverName"), errors),
    }
    parameters(obj, &Path::new("parameters"), errors);
    if obj.map("parameters").is_empty() {
        errors.required(&Path::new("parameters"), "must contain at least one key/value pair");
    }
}

pub(crate) fn volume_class_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    for field in ["driverName", "parameters"] {
        if !crate::equality::same_field(obj, old, field) {
            errors.forbidden(&Path::new(field), format!("updates to {field} are forbidden."));
        }
    }
    volume_class(obj, errors);
}

fn parameters(obj: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let parameters = obj.map("parameters");
    if parameters.len() > MAX_PARAMETERS {
        return errors.too_long(path, MAX_PARAMETERS);
    }
    if parameters.contains_key("") {
        errors.invalid(path, "", "field can not be empty.");
    }
    let size: usize = parameters.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > MAX_PARAMETERS_SIZE {
        errors.too_long(path, MAX_PARAMETERS_SIZE);
    }
}

fn topologies(obj: &Value, errors: &mut ErrorList) {
    let path = Path::new("allowedTopologies");
    // Upstream compares each with as many empty ones first.
    let mut seen = vec![BTreeMap::new()];
    for (i, term) in obj.list("allowedTopologies").iter().enumerate() {
        let path = path.index(i);
        let path = path.child("matchLabelExpressions");
        let expressions = term.list("matchLabelExpressions");
        for (i, expression) in expressions.iter().enumerate() {
            let (path, values) = (path.index(i), expression.list("values"));
            let at = path.child("values");
            if values.is_empty() {
                errors.required(&at, "");
            }
            for (i, value) in values.iter().enumerate().filter(|(i, value)| values[..*i].contains(value)) {
                errors.duplicate(&at.index(i), value.clone());
            }
            let key = expression.text("key");
            qualified_name(key, &path.child("key"), errors);
            if expressions[..i].iter().any(|other| other.text("key") == key) {
                errors.duplicate(&path.child("key"), key);
            }
        }
        let meant: BTreeMap<&str, BTreeSet<&str>> =
            expressions.iter().map(|e| (e.text("key"), texts(e, "values").collect())).collect();
        if seen.contains(&meant) {
            errors.duplicate(&path, "");
        }
        seen.push(meant);
    }
}

pub(crate) fn class_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    class(obj, errors);
    metadata_update(obj, old, errors);
    for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
        // A declared rule, which shows no value.
        if !crate::equality::same_field(obj, old, field) {
            errors.invalid(&Path::new(field), Value::Null, IMMUTABLE);
        }
    }
}

/// Above are the system's own.
const HIGHEST_USER_PRIORITY: i64 = 1_000_000_000;
const SYSTEM_CLASSES: [(&str, i64); 2] = [
    ("system-node-critical", 2 * HIGHEST_USER_PRIORITY + 1000),
    ("system-cluster-critical", 2 * HIGHEST_USER_PRIORITY),
];

pub(crate) fn priority_class(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    let (name, value) = (crate::meta::name(obj), obj.int("value"));
    if name.starts_with("system-") {
        let why = match SYSTEM_CLASSES.iter().find(|(known, _)| *known == name) {
            None => Some(format!("{name} is not a known system priority class")),
            Some((_, known)) if *known != value => Some(format!("value of {name} PriorityClass must be {known}")),
            Some(_) => {
                obj.flag("globalDefault").then(|| format!("globalDefault of {name} PriorityClass must be false"))
            }
        };
        if let Some(why) = why {
            let detail =
                format!("priority class names with 'system-' prefix are reserved for system use only. error: {why}");
            errors.forbidden(&Path::new("metadata.name"), detail);
        }
    } else if value > HIGHEST_USER_PRIORITY {
        let detail = format!("maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}");
        errors.forbidden(&Path::new("value"), detail);
    }
    let at = Path::new("preemptionPolicy");
    if obj["preemptionPolicy"] == "" {
        return errors.required(&at, "");
    }
    optional_one_of(&obj["preemptionPolicy"], &["PreemptLowerPriority", "Never"], &at, errors);
}

pub(crate) fn priority_class_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    if obj.int("value") != old.int("value") {
        errors.forbidden(&Path::new("value"), "may not be changed in an update.");
    }
    immutable(&obj["preemptionPolicy"], &old["preemptionPolicy"], &Path::new("preemptionPolicy"), errors);
}
