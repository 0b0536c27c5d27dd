//! What a ResourceClaim asks for, and a ResourceClaimTemplate for its claims.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::devices::{
    MAX_CONFIGS, MAX_SELECTORS, at_most, configuration, configuration_driver, declared_tolerations, few, in_bytes,
    qualified_attribute_name, selectors, tolerations, unique,
};
use super::prelude::*;
use crate::names;
use crate::object_meta::{check_annotations, check_labels, subdomain_rule};

pub(super) const MAX_REQUESTS: usize = 32;
const MAX_CONSTRAINTS: usize = 32;
const MAX_ALTERNATIVES: usize = 8;
const MODES: &[&str] = &["All", "ExactCount"];
/// The fields of metadata that templates may not have, as upstream's reflection writes them.
const NOT_IN_TEMPLATES: [(&str, &str); 13] = [
    ("name", "name"),
    ("generateName", "generateName"),
    ("namespace", "namespace"),
    ("selfLink", "selfLink"),
    ("uid", "uID"),
    ("resourceVersion", "resourceVersion"),
    ("generation", "generation"),
    ("creationTimestamp", "creationTimestamp"),
    ("deletionTimestamp", "deletionTimestamp"),
    ("deletionGracePeriodSeconds", "deletionGracePeriodSeconds"),
    ("ownerReferences", "ownerReferences"),
    ("finalizers", "finalizers"),
    ("managedFields", "managedFields"),
];

pub(crate) fn claim(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    let path = Path::new("spec.devices");
    coded(obj.at("spec.devices"), &path, errors);
    declared(obj.at("spec.devices"), &path, errors);
}

pub(crate) fn claim_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    metadata_update(obj, old, errors);
    kept_spec(obj, old, errors);
}

pub(crate) fn template(obj: &Value, errors: &mut ErrorList) {
    coded_template(obj, errors);
    declared(obj.at("spec.spec.devices"), &Path::new("spec.spec.devices"), errors);
}

pub(crate) fn template_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    coded_template(obj, errors);
    metadata_update(obj, old, errors);
    kept_spec(obj, old, errors);
    if !crate::equality::same_field(obj, old, "spec") {
        declared(obj.at("spec.spec.devices"), &Path::new("spec.spec.devices"), errors);
    }
}

fn coded_template(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    template_metadata(obj.at("spec.metadata"), &Path::new("spec.metadata"), errors);
    coded(obj.at("spec.spec.devices"), &Path::new("spec.spec.devices"), errors);
}

/// Metadata of what will be made after a template: labels and annotations.
pub(super) fn template_metadata(metadata: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    check_annotations(&metadata["annotations"], &path.child("annotations"), errors);
    check_labels(&metadata["labels"], &path.child("labels"), errors);
    for (field, shown) in NOT_IN_TEMPLATES {
        let is_zero = match &metadata[field] {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Number(number) => field == "generation" && number.as_i64() == Some(0),
            _ => false,
        };
        if !is_zero {
            errors.forbidden(&path.child(shown), "cannot be set");
        }
    }
}

fn kept_spec(obj: &Value, old: &Value, errors: &mut ErrorList) {
    if !crate::equality::same_field(obj, old, "spec") {
        errors.invalid(&Path::new("spec"), Value::Null, IMMUTABLE);
    }
}

/// Names of requests, each with those of its alternatives.
pub(super) struct Names<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Names<'a> {
    pub(super) fn of(devices: &'a Value) -> Self {
        let alternatives = |request: &'a Value| request.list("firstAvailable").iter().map(|sub| sub.text("name"));
        let requests = devices.list("requests").iter();
        Self(requests.map(|request| (request.text("name"), alternatives(request).collect())).collect())
    }

    /// A request, or `request/alternative`.
    pub(super) fn check(&self, name: &str, path: &Path<'_>, errors: &mut ErrorList) {
        let detail =
            "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() > 2 {
            return errors.invalid(path, name, detail);
        }
        parts.iter().for_each(|part| dns1123_label(part, path, errors));
        let alternatives = self.0.get(parts[0]);
        if !alternatives.is_some_and(|known| parts.get(1).is_none_or(|part| known.contains(part))) {
            errors.invalid(path, name, detail);
        }
    }

    pub(super) fn check_all(&self, of: &Value, path: &Path<'_>, errors: &mut ErrorList) {
        let path = path.child("requests");
        for (i, name) in few(of.list("requests"), MAX_REQUESTS) {
            self.check(name.as_str().unwrap_or_default(), &path.index(i), errors);
        }
    }
}

/// Upstream's own checks, without those that declared ones stand for.
fn coded(devices: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let names = Names::of(devices);
    let at = path.child("requests");
    for (i, request) in few(devices.list("requests"), MAX_REQUESTS) {
        coded_request(request, &at.index(i), errors);
    }
    let at = path.child("constraints");
    for (i, constraint) in few(devices.list("constraints"), MAX_CONSTRAINTS) {
        let path = at.index(i);
        names.check_all(constraint, &path, errors);
        if !constraint.has("matchAttribute") && !constraint.has("distinctAttribute") {
            // Upstream says so of none, too.
            let detail = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields \
                          are set";
            errors.required(&path, detail);
        }
    }
    let at = path.child("config");
    for (i, config) in few(devices.list("config"), MAX_CONFIGS) {
        let path = at.index(i);
        names.check_all(config, &path, errors);
        configuration(config, &path, false, errors);
    }
}

fn coded_request(request: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    dns1123_label(request.text("name"), &path.child("name"), errors);
    let alternatives = request.list("firstAvailable");
    match (request.has("exactly"), !alternatives.is_empty()) {
        (false, false) => errors.required(path, "exactly one of `exactly` or `firstAvailable` is required"),
        (true, true) => {
            let detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.invalid(path, Value::Null, detail);
        }
        (true, false) => {
            let (exactly, path) = (&request["exactly"], path.child("exactly"));
            let at = path.child("deviceClassName");
            match exactly.text("deviceClassName") {
                "" => errors.required(&at, ""),
                name => dns1123_subdomain(name, &at, errors),
            }
            coded_choice(exactly, &path, errors);
        }
        (false, true) => {
            let at = path.child("firstAvailable");
            for (i, sub) in few(alternatives, MAX_ALTERNATIVES) {
                let path = at.index(i);
                dns1123_label(sub.text("name"), &path.child("name"), errors);
                coded_choice(sub, &path, errors);
            }
        }
    }
}

/// What a request and an alternative have in common.
fn coded_choice(choice: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    selectors(choice.list("selectors"), &path.child("selectors"), errors);
    let (count, at) = (choice.int("count"), path.child("count"));
    match choice.text("allocationMode") {
        "All" if count != 0 => errors.invalid(&at, count, "must not be specified when allocationMode is 'All'"),
        "ExactCount" => positive(count, &at, errors),
        _ => {}
    }
    tolerations(choice.list("tolerations"), &path.child("tolerations"), errors);
}

fn declared(devices: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (at, requests) = (path.child("requests"), devices.list("requests"));
    at_most(requests, MAX_REQUESTS, &at, errors);
    if requests.len() <= MAX_REQUESTS {
        unique(requests, |request| request.text("name"), &at, errors);
    }
    for (i, request) in few(requests, MAX_REQUESTS) {
        declared_request(request, &at.index(i), errors);
    }
    let (at, constraints) = (path.child("constraints"), devices.list("constraints"));
    at_most(constraints, MAX_CONSTRAINTS, &at, errors);
    for (i, constraint) in few(constraints, MAX_CONSTRAINTS) {
        let path = at.index(i);
        declared_names(constraint, &path, errors);
        for field in ["matchAttribute", "distinctAttribute"] {
            if let Some(name) = constraint[field].as_str() {
                qualified_attribute_name(name, &path.child(field), errors);
            }
        }
    }
    let (at, configs) = (path.child("config"), devices.list("config"));
    at_most(configs, MAX_CONFIGS, &at, errors);
    for (i, config) in few(configs, MAX_CONFIGS) {
        declared_names(config, &at.index(i), errors);
        configuration_driver(config, &at.index(i), errors);
    }
}

/// `requests` of constraints and configurations.
pub(super) fn declared_names(of: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (path, names) = (path.child("requests"), of.list("requests"));
    at_most(names, MAX_REQUESTS, &path, errors);
    if names.len() <= MAX_REQUESTS {
        unique(names, |name| name, &path, errors);
    }
}

fn declared_request(request: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if request.has("exactly") {
        declared_choice(&request["exactly"], &path.child("exactly"), errors);
    }
    let (path, alternatives) = (path.child("firstAvailable"), request.list("firstAvailable"));
    at_most(alternatives, MAX_ALTERNATIVES, &path, errors);
    if alternatives.len() <= MAX_ALTERNATIVES {
        unique(alternatives, |sub| sub.text("name"), &path, errors);
    }
    for (i, sub) in few(alternatives, MAX_ALTERNATIVES) {
        let path = path.index(i);
        let (name, at) = (sub.text("deviceClassName"), path.child("deviceClassName"));
        match name {
            "" => errors.required(&at, ""),
            _ => errors.each_invalid(&at, name, in_bytes(names::dns1123_subdomain(name))),
        }
        declared_choice(sub, &path, errors);
    }
}

fn declared_choice(choice: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    at_most(choice.list("selectors"), MAX_SELECTORS, &path.child("selectors"), errors);
    match choice.text("allocationMode") {
        "" => {}
        mode => one_of(mode, MODES, &path.child("allocationMode"), errors),
    }
    declared_tolerations(choice.list("tolerations"), &path.child("tolerations"), errors);
}
