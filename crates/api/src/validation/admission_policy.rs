//! ValidatingAdmissionPolicies, MutatingAdmissionPolicies and their bindings. Whether expressions compile is said by
//! whoever can read CEL.

use std::collections::BTreeSet;

use serde_json::Value;

use super::prelude::*;
use super::selector::label_selector;
use super::webhook_configuration::{conditions, rule};
use crate::names;
use crate::object_meta::{self, subdomain_rule};

const OPERATIONS_OF_MUTATIONS: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];
const MAX_AUDIT_ANNOTATIONS: usize = 20;
const MAX_VALUE_EXPRESSION: usize = 5 * 1024;

pub(crate) fn validating(obj: &Value, errors: &mut ErrorList) {
    errors.extend(object_meta::validate(obj, false, subdomain_rule));
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    head(spec, &path, errors);
    tail(spec, &path, errors);
    let detail = "validations or auditAnnotations must contain at least one item";
    if spec.list("validations").is_empty() && spec.list("auditAnnotations").is_empty() {
        errors.required(&path.child("validations"), detail);
        return errors.required(&path.child("auditAnnotations"), detail);
    }
    let at = path.child("validations");
    for (i, value) in spec.list("validations").iter().enumerate() {
        validation(value, &at.index(i), errors);
    }
    audit_annotations(spec, crate::meta::name(obj), &path.child("auditAnnotations"), errors);
}

pub(crate) fn validating_update(obj: &Value, _: &Value, errors: &mut ErrorList) {
    validating(obj, errors);
}

/// What both kinds of policy begin with.
fn head(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if !spec.has("failurePolicy") {
        errors.required(&path.child("failurePolicy"), "");
    }
    optional_one_of(&spec["failurePolicy"], &["Fail", "Ignore"], &path.child("failurePolicy"), errors);
    if spec.has("paramKind") {
        param_kind(&spec["paramKind"], &path.child("paramKind"), errors);
    }
    let (constraints, at) = (&spec["matchConstraints"], path.child("matchConstraints"));
    if constraints.is_null() {
        errors.required(&at, "");
    } else {
        resources(constraints, &at, errors);
        if constraints.list("resourceRules").is_empty() {
            errors.required(&at.child("resourceRules"), "");
        }
    }
}

fn tail(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    conditions(spec.list("matchConditions"), &path.child("matchConditions"), errors);
    let at = path.child("variables");
    for (i, variable) in spec.list("variables").iter().enumerate() {
        let (path, name) = (at.index(i), variable.text("name"));
        if name.trim().is_empty() {
            errors.required(&path.child("name"), "name is not specified");
        } else if !is_identifier(name) {
            errors.invalid(&path.child("name"), name, "must be a valid CEL identifier");
        }
        if variable.text("expression").trim().is_empty() {
            errors.required(&path.child("expression"), "expression is not specified");
        }
    }
}

/// Words that CEL keeps for itself.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !RESERVED.contains(&name)
}

fn param_kind(kind: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (at, api_version) = (path.child("apiVersion"), kind.text("apiVersion"));
    match (api_version.matches('/').count(), api_version) {
        (_, "") => errors.required(&at, ""),
        (0 | 1, _) => {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            let problems = names::dns1123_subdomain(group);
            if !group.is_empty() && !problems.is_empty() {
                errors.invalid(&at, group, problems.join(","));
            }
            let problems = names::dns1035_label(version);
            if version.is_empty() {
                errors.invalid(&at, api_version, "version must be specified");
            } else if !problems.is_empty() {
                errors.invalid(&at, version, problems.join(","));
            }
        }
        _ => errors.invalid(&at, api_version, format!("unexpected GroupVersion string: {api_version}")),
    }
    let (at, name) = (path.child("kind"), kind.text("kind"));
    let problems = names::dns1035_label(&name.to_lowercase());
    if name.is_empty() {
        errors.required(&at, "");
    } else if !problems.is_empty() {
        let detail = format!("may have mixed case, but should otherwise match: {}", problems.join(","));
        errors.invalid(&at, name, detail);
    }
}

/// `MatchResources`; absent is fine.
fn resources(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if value.is_null() {
        return;
    }
    if !value.has("matchPolicy") {
        errors.required(&path.child("matchPolicy"), "");
    }
    optional_one_of(&value["matchPolicy"], &["Equivalent", "Exact"], &path.child("matchPolicy"), errors);
    for field in ["namespaceSelector", "objectSelector"] {
        if !value.has(field) {
            errors.required(&path.child(field), "");
        }
        label_selector(&value[field], false, &path.child(field), errors);
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        let path = path.child(field);
        for (i, value) in value.list(field).iter().enumerate() {
            let path = path.index(i);
            resource_names(value, &path.child("resourceNames"), errors);
            rule(value, &path, errors);
        }
    }
}

fn resource_names(rule: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut taken = BTreeSet::new();
    for (i, name) in texts(rule, "resourceNames").enumerate() {
        errors.each_invalid(&path.index(i), name, names::path_segment(name));
        if !taken.insert(name) {
            errors.duplicate(&path.index(i), name);
        }
    }
}

fn validation(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let blank = |field: &str| !value.text(field).is_empty() && value.text(field).trim().is_empty();
    if value.text("expression").trim().is_empty() {
        errors.required(&path.child("expression"), "expression is not specified");
    }
    if blank("messageExpression") {
        let at = path.child("messageExpression");
        errors.invalid(&at, value.text("messageExpression"), "must be non-empty if specified");
    }
    let (at, message) = (path.child("message"), value.text("message"));
    if blank("message") {
        errors.invalid(&at, message, "must be non-empty if specified");
    } else if message.trim().contains('\n') {
        errors.invalid(&at, message, "must not contain line breaks");
    }
    let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
    optional_one_of(&value["reason"], &reasons, &path.child("reason"), errors);
}

fn audit_annotations(spec: &Value, policy: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let annotations = spec.list("auditAnnotations");
    if annotations.len() > MAX_AUDIT_ANNOTATIONS {
        let detail = format!("must not have more than {MAX_AUDIT_ANNOTATIONS} auditAnnotations");
        errors.invalid(path, annotations.to_vec(), detail);
    }
    for (i, annotation) in annotations.iter().enumerate() {
        let (path, key) = (path.index(i), annotation.text("key"));
        if policy.is_empty() {
            errors.invalid(&path.child("key"), key, "requires metadata.name be non-empty");
        } else {
            qualified_name(&format!("{policy}/{key}"), &path.child("key"), errors);
        }
        let at = path.child("valueExpression");
        match annotation.text("valueExpression").trim().len() {
            0 => errors.required(&at, "valueExpression is not specified"),
            length if length > MAX_VALUE_EXPRESSION => {
                errors.required(&at, format!("must not exceed {MAX_VALUE_EXPRESSION} bytes in length"));
            }
            _ => {}
        }
        if annotations[..i].iter().any(|other| other.text("key") == key) {
            errors.duplicate(&path.child("key"), key);
        }
    }
}

pub(crate) fn mutating(obj: &Value, errors: &mut ErrorList) {
    errors.extend(object_meta::validate(obj, false, subdomain_rule));
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    head(spec, &path, errors);
    operations(&spec["matchConstraints"], &path.child("matchConstraints.resourceRules.operations"), errors);
    tail(spec, &path, errors);
    let at = path.child("mutations");
    if spec.list("mutations").is_empty() {
        errors.required(&at, "mutations must contain at least one item");
    }
    for (i, value) in spec.list("mutations").iter().enumerate() {
        mutation(value, &at.index(i), errors);
    }
    match spec.text("reinvocationPolicy") {
        "" => errors.required(&path.child("reinvocationPolicy"), ""),
        policy => one_of(policy, &["IfNeeded", "Never"], &path.child("reinvocationPolicy"), errors),
    }
}

pub(crate) fn mutating_update(obj: &Value, _: &Value, errors: &mut ErrorList) {
    mutating(obj, errors);
}

/// What is deleted cannot be changed first.
fn operations(resources: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for operation in resources.list("resourceRules").iter().flat_map(|rule| texts(rule, "operations")) {
        one_of(operation, OPERATIONS_OF_MUTATIONS, path, errors);
    }
}

fn mutation(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (own, other) = match value.text("patchType") {
        "" => return errors.required(&path.child("patchType"), ""),
        "JSONPatch" => ("jsonPatch", "applyConfiguration"),
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
        ty => return one_of(ty, &["ApplyConfiguration", "JSONPatch"], &path.child("patchType"), errors),
    };
    let ty = value.text("patchType");
    if !value.has(own) {
        errors.required(&path.child(own), format!("must be specified when patchType is {ty}"));
    } else if value[own].text("expression").trim().is_empty() {
        let at = path.child(own);
        errors.required(&at.child("expression"), "");
    }
    if value.has(other) {
        let detail = format!("must not be specified when patchType is {ty}");
        errors.invalid(&path.child(other), format!("{{{other}}}"), detail);
    }
}

pub(crate) fn validating_binding(obj: &Value, errors: &mut ErrorList) {
    errors.extend(object_meta::validate(obj, false, subdomain_rule));
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    policy_name(spec, &path, errors);
    param_ref(&spec["paramRef"], &path.child("paramRef"), errors);
    resources(&spec["matchResources"], &path.child("matchResources"), errors);
    actions(spec, &path.child("validationActions"), errors);
    // Declared, so upstream reports these last.
    required(spec, "policyName", &path, errors);
    if spec.list("validationActions").is_empty() {
        errors.required(&path.child("validationActions"), "");
    }
}

pub(crate) fn validating_binding_update(obj: &Value, _: &Value, errors: &mut ErrorList) {
    validating_binding(obj, errors);
}

pub(crate) fn mutating_binding(obj: &Value, errors: &mut ErrorList) {
    errors.extend(object_meta::validate(obj, false, subdomain_rule));
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    required(spec, "policyName", &path, errors);
    policy_name(spec, &path, errors);
    param_ref(&spec["paramRef"], &path.child("paramRef"), errors);
    resources(&spec["matchResources"], &path.child("matchResources"), errors);
    operations(&spec["matchResources"], &path.child("matchResources.resourceRules.operations"), errors);
}

pub(crate) fn mutating_binding_update(obj: &Value, _: &Value, errors: &mut ErrorList) {
    mutating_binding(obj, errors);
}

fn policy_name(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let name = spec.text("policyName");
    if !name.is_empty() {
        errors.each_invalid(&path.child("policyName"), name, subdomain_rule(name, false));
    }
}

fn param_ref(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if value.is_null() {
        return;
    }
    let (name, has_selector) = (value.text("name"), value.has("selector"));
    let exclusive = "name and selector are mutually exclusive";
    if !name.is_empty() {
        errors.each_invalid(&path.child("name"), name, names::path_segment(name));
        if has_selector {
            errors.forbidden(&path.child("name"), exclusive);
        }
    }
    if has_selector {
        label_selector(&value["selector"], false, &path.child("selector"), errors);
        if !name.is_empty() {
            errors.forbidden(&path.child("selector"), exclusive);
        }
    }
    if name.is_empty() && !has_selector {
        errors.required(path, "one of name or selector must be specified");
    }
    match value.text("parameterNotFoundAction") {
        "" => errors.required(&path.child("parameterNotFoundAction"), ""),
        action => one_of(action, &["Deny", "Allow"], &path.child("parameterNotFoundAction"), errors),
    }
}

fn actions(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut taken = BTreeSet::new();
    for (i, action) in texts(spec, "validationActions").enumerate() {
        one_of(action, &["Audit", "Deny", "Warn"], &path.index(i), errors);
        if !taken.insert(action) {
            errors.duplicate(&path.index(i), action);
        }
    }
    if taken.contains("Deny") && taken.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                      response and headers serves no purpose)";
        errors.invalid(path, spec["validationActions"].clone(), detail);
    }
}
