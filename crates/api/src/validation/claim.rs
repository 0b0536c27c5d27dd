//! `core.PersistentVolumeClaimSpec`, of claims and of templates for them.

use serde_json::Value;

use super::device_claim::template_metadata;
use super::prelude::*;
use super::resources::{quantity, resource_amount};
use super::selector::label_selector;
use crate::object_meta::{label_rule, subdomain_rule};

pub(crate) const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// What a changed claim may keep.
#[derive(Clone, Copy, Default)]
pub(crate) struct ClaimOptions {
    pub allow_bad_selector: bool,
    pub allow_bad_api_group: bool,
}

/// `volumeClaimTemplate` of an ephemeral volume, which `volume` holds.
pub(crate) fn template(volume: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let path = path.child("volumeClaimTemplate");
    let template = &volume["volumeClaimTemplate"];
    if template.is_null() {
        return errors.required(&path, "");
    }
    template_metadata(&template["metadata"], &path.child("metadata"), errors);
    claim_spec(&template["spec"], &path.child("spec"), ClaimOptions::default(), errors);
}

pub(crate) fn claim_spec(spec: &Value, path: &Path<'_>, options: ClaimOptions, errors: &mut ErrorList) {
    let modes_at = path.child("accessModes");
    if spec.list("accessModes").is_empty() {
        errors.required(&modes_at, "at least 1 access mode is required");
    }
    label_selector(&spec["selector"], options.allow_bad_selector, &path.child("selector"), errors);
    access_modes(spec, &modes_at, errors);
    let at = path.child("resources");
    let at = at.key("storage");
    match spec.map("resources.requests").get("storage").map(quantity) {
        None => errors.required(&at, ""),
        Some(size) if size.sign() <= 0 => errors.invalid(&at, size.to_string(), "must be greater than zero"),
        Some(size) => resource_amount("storage", &size, &at, errors),
    }
    class_name(spec, "storageClassName", path, errors);
    optional_one_of(&spec["volumeMode"], &["Block", "Filesystem"], &path.child("volumeMode"), errors);
    for field in ["dataSource", "dataSourceRef"] {
        data_source(&spec[field], options, &path.child(field), errors);
    }
    let (source, reference) = (&spec["dataSource"], &spec["dataSourceRef"]);
    if source.is_object() && reference.is_object() {
        let same = |field: &str| source[field] == reference[field];
        // Upstream shows a path where the value should be, which prints as an empty object.
        let nothing = || serde_json::json!({});
        if !reference.text("namespace").is_empty() {
            errors.invalid(path, nothing(), "may not be specified when dataSourceRef.namespace is specified");
        } else if !(same("apiGroup") && same("kind") && same("name")) {
            errors.invalid(path, nothing(), "must match dataSourceRef");
        }
    }
    class_name(spec, "volumeAttributesClassName", path, errors);
}

pub(crate) fn access_modes(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    texts(spec, "accessModes").for_each(|mode| one_of(mode, ACCESS_MODES, path, errors));
    let known: Vec<&str> = texts(spec, "accessModes").filter(|mode| ACCESS_MODES.contains(mode)).collect();
    if known.contains(&"ReadWriteOncePod") && known.iter().any(|mode| *mode != "ReadWriteOncePod") {
        errors.forbidden(path, "may not use ReadWriteOncePod with other access modes");
    }
}

fn class_name(spec: &Value, field: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let name = spec.text(field);
    if !name.is_empty() {
        errors.each_invalid(&path.child(field), name, subdomain_rule(name, false));
    }
}

fn data_source(source: &Value, options: ClaimOptions, path: &Path<'_>, errors: &mut ErrorList) {
    if source.is_null() {
        return;
    }
    required(source, "name", path, errors);
    required(source, "kind", path, errors);
    let group = source.text("apiGroup");
    if group.is_empty() && source.text("kind") != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.invalid(path, source.text("kind"), detail);
    }
    if !group.is_empty() && !options.allow_bad_api_group {
        dns1123_subdomain(group, &path.child("apiGroup"), errors);
    }
    let namespace = source.text("namespace");
    if !namespace.is_empty() {
        errors.each_invalid(&path.child("namespace"), namespace, label_rule(namespace, false));
    }
}
