//! Roles and their bindings.

use serde_json::Value;

use super::prelude::*;
use super::selector::label_selector;
use super::workloads::selects;
use crate::names;
use crate::object_meta::{path_segment_rule, subdomain_rule};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) fn role(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, path_segment_rule, errors);
    rules(obj, true, errors);
    declared_rules(obj, errors);
}

pub(crate) fn role_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata(obj, true, path_segment_rule, errors);
    rules(obj, true, errors);
    metadata_update(obj, old, errors);
    declared_rules(obj, errors);
}

pub(crate) fn cluster_role(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, path_segment_rule, errors);
    rules(obj, false, errors);
    aggregation(obj, errors);
    declared_rules(obj, errors);
}

pub(crate) fn cluster_role_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata(obj, false, path_segment_rule, errors);
    rules(obj, false, errors);
    aggregation(obj, errors);
    metadata_update(obj, old, errors);
    declared_rules(obj, errors);
}

fn rules(obj: &Value, namespaced: bool, errors: &mut ErrorList) {
    let path = Path::new("rules");
    for (i, rule) in obj.list("rules").iter().enumerate() {
        let path = path.index(i);
        let has = |field: &str| !rule.list(field).is_empty();
        if has("nonResourceURLs") {
            let (at, urls) = (path.child("nonResourceURLs"), &rule["nonResourceURLs"]);
            if namespaced {
                errors.invalid(&at, urls.clone(), "namespaced rules cannot apply to non-resource URLs");
            }
            if has("apiGroups") || has("resources") || has("resourceNames") {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.invalid(&at, urls.clone(), detail);
            }
            continue;
        }
        if !has("apiGroups") {
            errors.required(&path.child("apiGroups"), "resource rules must supply at least one api group");
        }
        if !has("resources") {
            errors.required(&path.child("resources"), "resource rules must supply at least one resource");
        }
    }
}

fn declared_rules(obj: &Value, errors: &mut ErrorList) {
    let path = Path::new("rules");
    for (i, _) in obj.list("rules").iter().enumerate().filter(|(_, rule)| rule.list("verbs").is_empty()) {
        errors.required(&path.index(i).child("verbs"), "");
    }
}

fn aggregation(obj: &Value, errors: &mut ErrorList) {
    if !obj.has("aggregationRule") {
        return;
    }
    let path = Path::new("aggregationRule.clusterRoleSelectors");
    let selectors = obj.list("aggregationRule.clusterRoleSelectors");
    if selectors.is_empty() {
        errors.required(&path, "at least one clusterRoleSelector required if aggregationRule is non-nil");
    }
    for (i, selector) in selectors.iter().enumerate() {
        let path = path.index(i);
        label_selector(selector, false, &path, errors);
        if selects(selector, &Value::Null).is_none() {
            errors.invalid(&path, Value::Null, "invalid label selector.");
        }
    }
}

pub(crate) fn role_binding(obj: &Value, errors: &mut ErrorList) {
    binding(obj, true, true, errors);
    declared_names(obj, errors);
}

pub(crate) fn role_binding_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    binding_update(obj, old, true, errors);
}

pub(crate) fn cluster_role_binding(obj: &Value, errors: &mut ErrorList) {
    binding(obj, false, true, errors);
    declared_names(obj, errors);
}

pub(crate) fn cluster_role_binding_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    binding_update(obj, old, false, errors);
}

fn binding_update(obj: &Value, old: &Value, namespaced: bool, errors: &mut ErrorList) {
    binding(obj, namespaced, false, errors);
    metadata_update(obj, old, errors);
    if !crate::equality::same_field(obj, old, "roleRef") {
        // As upstream's internal type prints it.
        let text = |field: &str| crate::quote::quote(obj["roleRef"].text(field));
        let shown =
            format!("{{\"APIGroup\":{},\"Kind\":{},\"Name\":{}}}", text("apiGroup"), text("kind"), text("name"));
        errors.shown(ErrorType::Invalid, &Path::new("roleRef"), &shown, IMMUTABLE);
    }
    declared_names(obj, errors);
}

fn binding(obj: &Value, namespaced: bool, is_new: bool, errors: &mut ErrorList) {
    metadata(obj, namespaced, path_segment_rule, errors);
    let (role, path) = (&obj["roleRef"], Path::new("roleRef"));
    one_of(role.text("apiGroup"), &[GROUP], &path.child("apiGroup"), errors);
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    one_of(role.text("kind"), kinds, &path.child("kind"), errors);
    let name = role.text("name");
    if !is_new {
        // A changed role is refused before what is declared of it.
        required(role, "name", &path, errors);
    }
    errors.each_invalid(&path.child("name"), name, names::path_segment(name));
    let path = Path::new("subjects");
    for (i, value) in obj.list("subjects").iter().enumerate() {
        subject(value, namespaced, &path.index(i), errors);
    }
}

fn subject(subject: &Value, namespaced: bool, path: &Path<'_>, errors: &mut ErrorList) {
    let (name, group_at) = (subject.text("name"), path.child("apiGroup"));
    match subject.text("kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                errors.each_invalid(&path.child("name"), name, subdomain_rule(name, false));
            }
            one_of(subject.text("apiGroup"), &[""], &group_at, errors);
            if !namespaced && subject.text("namespace").is_empty() {
                errors.required(&path.child("namespace"), "");
            }
        }
        "User" | "Group" => one_of(subject.text("apiGroup"), &[GROUP], &group_at, errors),
        other => errors.not_supported(&path.child("kind"), other, &["ServiceAccount", "User", "Group"]),
    }
}

fn declared_names(obj: &Value, errors: &mut ErrorList) {
    let path = Path::new("subjects");
    for (i, _) in obj.list("subjects").iter().enumerate().filter(|(_, subject)| subject.text("name").is_empty()) {
        errors.required(&path.index(i).child("name"), "");
    }
    required(&obj["roleRef"], "name", &Path::new("roleRef"), errors);
}
