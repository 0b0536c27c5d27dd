//! APIServices (`k8s.io/kube-aggregator/pkg/apis/apiregistration/validation`).

use base64::Engine as _;
use serde_json::Value;

use super::prelude::*;
use crate::names;
use crate::object_meta::path_segment_rule;

pub(crate) fn api_service(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, path_segment_rule, errors);
    spec(obj, errors);
}

pub(crate) fn update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    api_service(obj, errors);
}

pub(crate) fn status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let path = Path::new("status.conditions");
    for (i, condition) in obj.list("status.conditions").iter().enumerate() {
        one_of(condition.text("status"), &["False", "True", "Unknown"], &path.index(i).child("status"), errors);
    }
}

fn spec(obj: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec");
    let (spec, name) = (&obj["spec"], crate::meta::name(obj));
    let (group, version) = (spec.text("group"), spec.text("version"));
    let wanted = format!("{version}.{group}");
    if !name.is_empty() && path_segment_rule(name, false).is_empty() && name != wanted {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        errors.invalid(&Path::new("metadata.name"), name, detail);
    }
    if group.is_empty() && version != "v1" {
        let detail = "only v1 may have an empty group and it better be legacy kube";
        errors.required(&path.child("group"), detail);
    }
    if !group.is_empty() {
        dns1123_subdomain(group, &path.child("group"), errors);
    }
    errors.each_invalid(&path.child("version"), version, names::dns1035_label(version));
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let priority = spec.int(field);
        if !(1..=most).contains(&priority) {
            errors.invalid(&path.child(field), priority, format!("must be positive and less than {most}"));
        }
    }
    trust(spec, &path, errors);
    if spec.has("service") {
        service(&spec["service"], &path.child("service"), errors);
    }
}

/// How the server is told from others: not at all where it is this one.
fn trust(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (bundle, unchecked) = (spec.text("caBundle"), spec.flag("insecureSkipTLSVerify"));
    if spec.has("service") {
        if unchecked && !bundle.is_empty() {
            errors.invalid(&path.child("insecureSkipTLSVerify"), true, "may not be true if caBundle is present");
        }
        return;
    }
    if !bundle.is_empty() {
        let bytes = base64::engine::general_purpose::STANDARD.decode(bundle).map_or(bundle.len(), |bytes| bytes.len());
        errors.invalid(&path.child("caBundle"), format!("{bytes} bytes"), "local APIServices may not have a caBundle");
    }
    if unchecked {
        let detail = "local APIServices may not have insecureSkipTLSVerify";
        errors.invalid(&path.child("insecureSkipTLSVerify"), true, detail);
    }
}

fn service(service: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    required(service, "namespace", path, errors);
    required(service, "name", path, errors);
    let port = service.int("port");
    if !(1..=65535).contains(&port) {
        errors.invalid(&path.child("port"), port, format!("port is not valid: {}", between(1, 65535)));
    }
}
