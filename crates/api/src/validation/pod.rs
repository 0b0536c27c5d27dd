//! Pods: creation, and the few changes that a pod allows.

use serde_json::Value;

use super::containers::images_are_trimmed;
use super::diff::diff;
use super::options::Options;
use super::pod_annotations::{self, MIRROR};
use super::pod_spec::pod_spec;
use super::prelude::*;
use super::scheduling;
use crate::equality::same;
use crate::object_meta::subdomain_rule;

pub(crate) fn pod(obj: &Value, errors: &mut ErrorList) {
    metadata_and_spec(obj, &Options::of_new_pod(), errors);
    let path = Path::new("spec");
    if !obj.list("spec.ephemeralContainers").is_empty() {
        errors.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
    if !obj.text("spec.nodeName").is_empty() && !obj.list("spec.schedulingGates").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.forbidden(&path.child("nodeName"), detail);
    }
    pod_annotations::agree_with_fields(obj, &path, errors);
}

fn metadata_and_spec(obj: &Value, options: &Options, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    pod_annotations::annotations(obj, &Path::new("metadata.annotations"), options, errors);
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    pod_spec(spec, &obj["metadata"], &path, options, errors);
    if spec.text("serviceAccountName").is_empty() {
        tokens_without_account(spec, &path, errors);
    }
    if let Some(seconds) = spec["terminationGracePeriodSeconds"].as_i64() {
        non_negative(seconds, &path.child("terminationGracePeriodSeconds"), errors);
    }
    images_are_trimmed(spec, &path, errors);
}

fn tokens_without_account(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let path = path.child("volumes");
    for (i, volume) in spec.list("volumes").iter().enumerate() {
        let path = path.index(i);
        let path = path.child("projected.sources");
        for (i, source) in volume.list("projected.sources").iter().enumerate() {
            if source.has("serviceAccountToken") {
                let detail = "must not be specified when serviceAccountName is not set";
                errors.forbidden(&path.index(i).child("serviceAccountToken"), detail);
            }
        }
    }
}

pub(crate) fn update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    let options = Options::of_changed(old, true);
    metadata_update(obj, old, errors);
    metadata_and_spec(obj, &options, errors);
    pod_annotations::update(obj, old, &Path::new("metadata.annotations"), &options, errors);
    let path = Path::new("spec");
    let (spec, old) = (&obj["spec"], &old["spec"]);
    for field in ["containers", "initContainers"] {
        if !same_number_of_containers(spec, old, field, &path, errors) {
            return;
        }
    }
    if !active_deadline(spec, old, &path.child("activeDeadlineSeconds"), errors) {
        return;
    }
    added_tolerations(spec, old, &path.child("tolerations"), &options, errors);
    removed_gates(spec, old, &path.child("schedulingGates"), errors);
    if same(spec, old) {
        return;
    }
    let unchanged = without_allowed_changes(spec, old, &path, errors);
    if !same(&unchanged, old) {
        let detail = format!("pod updates may not change fields other than {UPDATABLE}\n{}", diff(old, &unchanged));
        errors.forbidden(&path, detail);
    }
}

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                         `spec.tolerations` (only additions to existing tolerations),\
                         `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

fn same_number_of_containers(spec: &Value, old: &Value, field: &str, path: &Path<'_>, errors: &mut ErrorList) -> bool {
    let path = path.child(field);
    if spec.list(field).len() != old.list(field).len() {
        errors.forbidden(&path, "pod updates may not add or remove containers");
        return false;
    }
    for (i, container) in spec.list(field).iter().enumerate() {
        let (path, image) = (path.index(i), container.text("image"));
        required(container, "image", &path, errors);
        if image.trim().len() != image.len() {
            errors.invalid(&path.child("image"), image, "must not have leading or trailing whitespace");
        }
    }
    true
}

/// A deadline may be set and come nearer. False: what follows is not looked at.
fn active_deadline(spec: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) -> bool {
    let was = old["activeDeadlineSeconds"].as_i64();
    match (spec["activeDeadlineSeconds"].as_i64(), was) {
        (Some(seconds), _) if !(0..=i64::from(i32::MAX)).contains(&seconds) => {
            errors.invalid(path, seconds, between(0, i32::MAX.into()));
            false
        }
        (Some(seconds), Some(was)) if was < seconds => {
            errors.invalid(path, seconds, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            errors.invalid(path, Value::Null, "must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

fn added_tolerations(spec: &Value, old: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    let new = spec.list("tolerations");
    let rest = |toleration: &Value| {
        let mut toleration = toleration.clone();
        if let Value::Object(fields) = &mut toleration {
            fields.remove("tolerationSeconds");
        }
        toleration
    };
    if old.list("tolerations").iter().any(|old| !new.iter().any(|new| rest(new) == rest(old))) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        return errors.forbidden(path, detail);
    }
    scheduling::tolerations(new, path, options, errors);
}

fn removed_gates(spec: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for (i, gate) in spec.list("schedulingGates").iter().enumerate() {
        let name = gate.text("name");
        let again = spec.list("schedulingGates")[i + 1..].iter().any(|later| later.text("name") == name);
        if !again && !old.list("schedulingGates").iter().any(|old| old.text("name") == name) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.forbidden(&path.index(i).child("name"), detail);
        }
    }
}

/// The new spec with everything that may change put back to what it was.
fn without_allowed_changes(spec: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) -> Value {
    let mut munged = spec.clone();
    for field in ["containers", "initContainers"] {
        let containers = munged.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, old) in containers.zip(old.list(field)) {
            keep(container, old, "image");
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        keep(&mut munged, old, field);
    }
    if old.int("terminationGracePeriodSeconds") < 0 && spec.int("terminationGracePeriodSeconds") == 1 {
        keep(&mut munged, old, "terminationGracePeriodSeconds");
    }
    if !old.list("schedulingGates").is_empty() {
        gated_changes(spec, old, path, &mut munged, errors);
    }
    munged
}

fn keep(obj: &mut Value, old: &Value, field: &str) {
    let Value::Object(fields) = obj else { return };
    match old.get(field) {
        Some(value) => fields.insert(field.to_owned(), value.clone()),
        None => fields.remove(field),
    };
}

/// While a gate stands, a pod's choice of nodes may become narrower (KEP 3838).
fn gated_changes(spec: &Value, old: &Value, path: &Path<'_>, munged: &mut Value, errors: &mut ErrorList) {
    if !same(&spec["nodeSelector"], &old["nodeSelector"]) {
        let new = spec.map("nodeSelector");
        if old.map("nodeSelector").iter().any(|(key, value)| new.get(key) != Some(value)) {
            let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            errors.invalid(&path.child("nodeSelector"), spec["nodeSelector"].clone(), detail);
        }
        keep(munged, old, "nodeSelector");
    }
    let (new_affinity, old_affinity) = (spec.at("affinity.nodeAffinity"), old.at("affinity.nodeAffinity"));
    if same(new_affinity, old_affinity) {
        return;
    }
    let at = path.child("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    narrower_terms(new_affinity, old_affinity, &at, errors);
    let others = |spec: &Value| spec.at("affinity").has("podAffinity") || spec.at("affinity").has("podAntiAffinity");
    if spec.has("affinity") && !old.has("affinity") && !others(spec) {
        keep(munged, old, "affinity");
    } else if spec.has("affinity") || !old_affinity.is_null() {
        crate::meta::child_mut(munged, "affinity");
        let affinity = munged.get_mut("affinity").expect("made above");
        keep(affinity, &old["affinity"], "nodeAffinity");
    }
}

fn narrower_terms(new: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    const TERMS: &str = "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    let (shown, new, old) = (new.at(TERMS), new.list(TERMS), old.list(TERMS));
    if !old.is_empty() && old.len() != new.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return errors.invalid(path, shown.clone(), detail);
    }
    for (i, (new, old)) in new.iter().zip(old).enumerate() {
        let is_empty = |term: &Value| term.list("matchExpressions").is_empty() && term.list("matchFields").is_empty();
        let grew = |field: &str| {
            let (new, old) = (new.list(field), old.list(field));
            new.len() >= old.len() && new.iter().zip(old).all(|(new, old)| same(new, old))
        };
        if is_empty(old) && !is_empty(new) || !grew("matchExpressions") || !grew("matchFields") {
            let detail = "only additions are allowed (no mutations or deletions)";
            errors.invalid(&path.index(i), new.clone(), detail);
        }
    }
}

pub(crate) fn ephemeral_containers(obj: &Value, old: &Value, errors: &mut ErrorList) {
    let options = Options::of_changed(old, true);
    let before = errors.0.len();
    metadata_update(obj, old, errors);
    metadata_and_spec(obj, &options, errors);
    pod_annotations::update(obj, old, &Path::new("metadata.annotations"), &options, errors);
    if old["metadata"]["annotations"].get(MIRROR).is_some() {
        errors.0.truncate(before);
        return errors.forbidden(&Path::new(""), "static pods do not support ephemeral containers");
    }
    let path = Path::new("spec.ephemeralContainers");
    for old in old.list("spec.ephemeralContainers") {
        let name = old.text("name");
        match obj.list("spec.ephemeralContainers").iter().rfind(|new| new.text("name") == name) {
            None => errors.forbidden(&path, format!("existing ephemeral containers {name:?} may not be removed\n")),
            Some(new) if same(new, old) => {}
            Some(new) => {
                let detail = format!("existing ephemeral containers {name:?} may not be changed\n{}", diff(old, new));
                errors.forbidden(&path, detail);
            }
        }
    }
}

pub(crate) fn resize(obj: &Value, old: &Value, errors: &mut ErrorList) {
    let options = Options::of_changed(old, true);
    let before = errors.0.len();
    metadata_update(obj, old, errors);
    metadata_and_spec(obj, &options, errors);
    let refused = if old["metadata"]["annotations"].get(MIRROR).is_some() {
        Some("static pods cannot be resized")
    } else {
        (old.text("spec.os.name") == "windows").then_some("windows pods cannot be resized")
    };
    match refused {
        Some(detail) => {
            errors.0.truncate(before);
            errors.forbidden(&Path::new(""), detail);
        }
        None => super::pod_resize::spec(obj, old, errors),
    }
}
