//! Where a pod may run: affinity, tolerations, spreading, gates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::options::Options;
use super::prelude::*;
use super::selector::{label_selector, node_selector, node_selector_term};
use crate::names;
use crate::object_meta::label_rule;

pub(crate) fn affinity(spec: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    let affinity = &spec["affinity"];
    if affinity.is_null() {
        return;
    }
    node_affinity(&affinity["nodeAffinity"], &path.child("nodeAffinity"), options, errors);
    for field in ["podAffinity", "podAntiAffinity"] {
        pod_affinity(&affinity[field], &path.child(field), options, errors);
    }
}

fn node_affinity(affinity: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    let required = &affinity["requiredDuringSchedulingIgnoredDuringExecution"];
    if !required.is_null() {
        let at = path.child("requiredDuringSchedulingIgnoredDuringExecution");
        node_selector(required, options.allow_bad_node_affinity, &at, errors);
    }
    let at = path.child("preferredDuringSchedulingIgnoredDuringExecution");
    for (i, term) in affinity.list("preferredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
        let at = at.index(i);
        weight(term, &at, errors);
        node_selector_term(&term["preference"], true, &at.child("preference"), errors);
    }
}

fn weight(term: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let weight = term.int("weight");
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

fn pod_affinity(affinity: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    let at = path.child("requiredDuringSchedulingIgnoredDuringExecution");
    for (i, term) in affinity.list("requiredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
        pod_affinity_term(term, &at.index(i), options, errors);
    }
    let at = path.child("preferredDuringSchedulingIgnoredDuringExecution");
    for (i, term) in affinity.list("preferredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
        let at = at.index(i);
        weight(term, &at, errors);
        pod_affinity_term(&term["podAffinityTerm"], &at.child("podAffinityTerm"), options, errors);
    }
}

fn pod_affinity_term(term: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    for field in ["labelSelector", "namespaceSelector"] {
        label_selector(&term[field], options.allow_bad_affinity_selectors, &path.child(field), errors);
    }
    for name in texts(term, "namespaces") {
        errors.each_invalid(&path.child("namespace"), name, label_rule(name, false));
    }
    match_label_keys(term, path, errors);
    let (key, at) = (term.text("topologyKey"), path.child("topologyKey"));
    if key.is_empty() {
        errors.required(&at, "can not be empty");
    }
    qualified_name(key, &at, errors);
}

/// `matchLabelKeys` and `mismatchLabelKeys` beside a `labelSelector` (KEP 3633, KEP 3243).
pub(crate) fn match_label_keys(term: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let selector = &term["labelSelector"];
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let at = path.child(field);
        if term.list(field).is_empty() {
            continue;
        }
        if selector.is_null() {
            errors.forbidden(&at, "must not be specified when labelSelector is not set");
            continue;
        }
        for (i, key) in texts(term, field).enumerate() {
            qualified_name(key, &at.index(i), errors);
        }
    }
    // The pod's own value was merged into the selector as an expression; a second one is the client's.
    let mut seen: BTreeSet<&str> = selector.map("matchLabels").keys().map(String::as_str).collect();
    for key in selector.list("matchExpressions").iter().map(|e| e.text("key")) {
        let at = texts(term, "matchLabelKeys").collect::<Vec<_>>().iter().rposition(|k| *k == key);
        if let Some(i) = at.filter(|_| seen.contains(key)) {
            errors.invalid(&path.index(i), key, "exists in both matchLabelKeys and labelSelector");
        }
        seen.insert(key);
    }
    let at = path.child("matchLabelKeys");
    for (i, key) in texts(term, "matchLabelKeys").enumerate() {
        if texts(term, "mismatchLabelKeys").any(|other| other == key) {
            errors.invalid(&at.index(i), key, "exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
}

pub(crate) fn topology_spread(spec: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    let constraints = spec.list("topologySpreadConstraints");
    for (i, constraint) in constraints.iter().enumerate() {
        let path = path.index(i);
        let (key, action) = (constraint.text("topologyKey"), constraint.text("whenUnsatisfiable"));
        positive(constraint.int("maxSkew"), &path.child("maxSkew"), errors);
        if key.is_empty() {
            errors.required(&path.child("topologyKey"), "can not be empty");
        }
        one_of(action, &["DoNotSchedule", "ScheduleAnyway"], &path.child("whenUnsatisfiable"), errors);
        let same = |c: &Value| c.text("topologyKey") == key && c.text("whenUnsatisfiable") == action;
        if constraints[i + 1..].iter().any(same) {
            errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), format!("{{{key}, {action}}}"));
        }
        if let Some(domains) = constraint["minDomains"].as_i64() {
            let at = path.child("minDomains");
            positive(domains, &at, errors);
            if action != "DoNotSchedule" {
                let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.invalid(&at, domains, detail);
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            optional_one_of(&constraint[field], &["Honor", "Ignore"], &path.child(field), errors);
        }
        if options.legacy_match_label_keys {
            legacy_match_label_keys(constraint, &path.child("matchLabelKeys"), errors);
        } else {
            match_label_keys(constraint, &path, errors);
        }
        if !options.allow_bad_spread_selectors {
            label_selector(&constraint["labelSelector"], false, &path.child("labelSelector"), errors);
        }
    }
}

fn legacy_match_label_keys(constraint: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let selector = &constraint["labelSelector"];
    if constraint.list("matchLabelKeys").is_empty() {
        return;
    }
    if selector.is_null() {
        errors.forbidden(path, "must not be specified when labelSelector is not set");
    }
    for (i, key) in texts(constraint, "matchLabelKeys").enumerate() {
        qualified_name(key, &path.index(i), errors);
        let selected = selector.map("matchLabels").contains_key(key)
            || selector.list("matchExpressions").iter().any(|e| e.text("key") == key);
        if selected {
            errors.invalid(&path.index(i), key, "exists in both matchLabelKeys and labelSelector");
        }
    }
}

pub(crate) const TAINT_EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub(crate) fn tolerations(list: &[Value], path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    for (i, toleration) in list.iter().enumerate() {
        let path = path.index(i);
        let (key, operator) = (toleration.text("key"), toleration.text("operator"));
        let (value, effect) = (toleration.text("value"), toleration.text("effect"));
        let at = path.child("operator");
        if !key.is_empty() {
            qualified_name(key, &path.child("key"), errors);
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&at, operator, detail);
        }
        if toleration.has("tolerationSeconds") && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(&path.child("effect"), effect, detail);
        }
        match operator {
            "Equal" | "" => {
                let problems = names::label_value(value);
                if !problems.is_empty() {
                    errors.invalid(&at, value, problems.join(";"));
                }
            }
            "Exists" if value.is_empty() => {}
            "Exists" => errors.invalid(&at, value, "value must be empty when `operator` is 'Exists'"),
            "Lt" | "Gt" if options.allow_comparison_operators => {}
            "Lt" | "Gt" => errors.not_supported(&at, operator, &["Equal", "Exists", "Lt", "Gt"]),
            _ => errors.not_supported(&at, operator, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            one_of(effect, TAINT_EFFECTS, &path.child("effect"), errors);
        }
    }
}

pub(crate) fn gates(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut taken = BTreeSet::new();
    for (i, gate) in spec.list("schedulingGates").iter().enumerate() {
        let (path, name) = (path.index(i), gate.text("name"));
        qualified_name(name, &path, errors);
        if !taken.insert(name) {
            errors.duplicate(&path, name);
        }
    }
}
