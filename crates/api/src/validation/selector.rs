//! Selectors of labels and of nodes.

use serde_json::Value;

use super::prelude::*;
use crate::names;
use crate::object_meta::{check_labels, subdomain_rule};

/// A `metav1.LabelSelector`; absent is fine.
pub(crate) fn label_selector(selector: &Value, allow_bad_values: bool, path: &Path<'_>, errors: &mut ErrorList) {
    if selector.is_null() {
        return;
    }
    check_labels(&selector["matchLabels"], &path.child("matchLabels"), errors);
    let path = path.child("matchExpressions");
    for (i, requirement) in selector.list("matchExpressions").iter().enumerate() {
        let path = path.index(i);
        match requirement.text("operator") {
            "In" | "NotIn" | "Exists" | "DoesNotExist" => value_count(requirement, &path, errors),
            other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
        qualified_name(requirement.text("key"), &path.child("key"), errors);
        if !allow_bad_values {
            label_values(requirement, &path, errors);
        }
    }
}

pub(crate) fn is_empty(selector: &Value) -> bool {
    selector.map("matchLabels").is_empty() && selector.list("matchExpressions").is_empty()
}

/// Whether a selector's expressions name values that labels cannot have.
pub(crate) fn has_bad_values(selector: &Value) -> bool {
    let values = selector.list("matchExpressions").iter().flat_map(|e| e.list("values"));
    values.filter_map(Value::as_str).any(|value| !names::label_value(value).is_empty())
}

fn value_count(requirement: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let values = requirement.list("values").len();
    match requirement.text("operator") {
        "In" | "NotIn" if values == 0 => {
            errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if values > 0 => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.forbidden(&path.child("values"), detail);
        }
        _ => {}
    }
}

fn label_values(requirement: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let path = path.child("values");
    for (i, value) in texts(requirement, "values").enumerate() {
        errors.each_invalid(&path.index(i), value, names::label_value(value));
    }
}

/// [`has_bad_values`] of a `core.NodeSelector`.
pub(crate) fn node_selector_bad_values(selector: &Value) -> bool {
    selector.list("nodeSelectorTerms").iter().any(has_bad_values)
}

/// A `core.NodeSelector`.
pub(crate) fn node_selector(selector: &Value, allow_bad_values: bool, path: &Path<'_>, errors: &mut ErrorList) {
    let path = path.child("nodeSelectorTerms");
    let terms = selector.list("nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(&path, "must have at least one node selector term");
    }
    for (i, term) in terms.iter().enumerate() {
        node_selector_term(term, allow_bad_values, &path.index(i), errors);
    }
}

pub(crate) fn node_selector_term(term: &Value, allow_bad_values: bool, path: &Path<'_>, errors: &mut ErrorList) {
    let expressions = path.child("matchExpressions");
    for (i, requirement) in term.list("matchExpressions").iter().enumerate() {
        let path = expressions.index(i);
        match requirement.text("operator") {
            "In" | "NotIn" | "Exists" | "DoesNotExist" => value_count(requirement, &path, errors),
            "Gt" | "Lt" if requirement.list("values").len() == 1 => {}
            "Gt" | "Lt" => {
                let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.required(&path.child("values"), detail);
            }
            other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
        qualified_name(requirement.text("key"), &path.child("key"), errors);
        if !allow_bad_values {
            label_values(requirement, &path, errors);
        }
    }
    let fields = path.child("matchFields");
    for (i, requirement) in term.list("matchFields").iter().enumerate() {
        node_field(requirement, &fields.index(i), errors);
    }
}

fn node_field(requirement: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let values = path.child("values");
    match requirement.text("operator") {
        "In" | "NotIn" if requirement.list("values").len() == 1 => {}
        "In" | "NotIn" => {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.required(&values, detail);
        }
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
    match requirement.text("key") {
        "metadata.name" => {
            for (i, name) in texts(requirement, "values").enumerate() {
                errors.each_invalid(&values.index(i), name, subdomain_rule(name, false));
            }
        }
        other => errors.invalid(&path.child("key"), other, "not a valid field selector key"),
    }
}
