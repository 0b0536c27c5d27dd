//! Mutating and ValidatingWebhookConfigurations (`pkg/apis/admissionregistration/validation`). Expressions in match
//! conditions are checked by whoever can read CEL.

use serde_json::Value;

use super::prelude::*;
use super::{selector, webhooks};
use crate::{names, object_meta};

const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const NO_SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
const MAX_CONDITIONS: usize = 64;

pub(crate) fn configuration(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, object_meta::subdomain_rule, errors);
    let all = obj.list("webhooks");
    let path = Path::new("webhooks");
    for (i, hook) in all.iter().enumerate() {
        let path = path.index(i);
        self::hook(hook, &path, errors);
        review_versions(hook, &path.child("admissionReviewVersions"), errors);
        if !hook.text("name").is_empty() && all[..i].iter().any(|before| before["name"] == hook["name"]) {
            errors.duplicate(&path.child("name"), hook.text("name"));
        }
    }
}

pub(crate) fn update(obj: &Value, _: &Value, errors: &mut ErrorList) {
    configuration(obj, errors);
}

fn review_versions(hook: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match hook.list("admissionReviewVersions") {
        [] => errors.required(path, format!("must specify one of {}", REVIEW_VERSIONS.join(", "))),
        versions => webhooks::review_versions(versions, &REVIEW_VERSIONS, path, errors),
    }
}

fn hook(hook: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let name = path.child("name");
    let broken = names::dns1123_subdomain(hook.text("name"));
    if hook.text("name").is_empty() {
        errors.required(&name, "");
    } else if !broken.is_empty() {
        errors.invalid(&name, hook.text("name"), broken.join(","));
    } else if hook.text("name").split('.').count() < 3 {
        errors.invalid(&name, hook.text("name"), "should be a domain with at least three segments separated by dots");
    }
    let rules = path.child("rules");
    for (i, rule) in hook.list("rules").iter().enumerate() {
        self::rule(rule, &rules.index(i), errors);
    }
    let choice = |field: &str, accepted: &[&str], errors: &mut ErrorList| {
        if let Some(text) = hook.at(field).as_str().filter(|text| !accepted.contains(text)) {
            errors.not_supported(&path.child(field), text, accepted);
        }
    };
    choice("failurePolicy", &["Fail", "Ignore"], errors);
    choice("matchPolicy", &["Equivalent", "Exact"], errors);
    if !hook.has("sideEffects") {
        errors.required(&path.child("sideEffects"), format!("must specify one of {}", NO_SIDE_EFFECTS.join(", ")));
    }
    choice("sideEffects", &NO_SIDE_EFFECTS, errors);
    if let Some(seconds) = hook.at("timeoutSeconds").as_i64().filter(|seconds| !(1..=30).contains(seconds)) {
        errors.invalid(&path.child("timeoutSeconds"), seconds, "the timeout value must be between 1 and 30 seconds");
    }
    for field in ["namespaceSelector", "objectSelector"] {
        selector::label_selector(hook.at(field), false, &path.child(field), errors);
    }
    choice("reinvocationPolicy", &["IfNeeded", "Never"], errors);
    client(hook.at("clientConfig"), &path.child("clientConfig"), errors);
    conditions(hook.list("matchConditions"), &path.child("matchConditions"), errors);
}

fn client(client: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if client.has("url") == client.has("service") {
        errors.required(path, "exactly one of url or service is required");
    } else if client.has("url") {
        webhooks::url(client.text("url"), &path.child("url"), errors);
    } else {
        webhooks::service(client.at("service"), &path.child("service"), errors);
    }
}

pub(crate) fn conditions(conditions: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
    if conditions.len() > MAX_CONDITIONS {
        errors.too_many(path, conditions.len(), MAX_CONDITIONS);
    }
    for (i, condition) in conditions.iter().enumerate() {
        let path = path.index(i);
        if condition.text("expression").trim().is_empty() {
            errors.required(&path.child("expression"), "");
        }
        let (name, path) = (condition.text("name"), path.child("name"));
        if name.is_empty() {
            errors.required(&path, "");
            continue;
        }
        errors.each_invalid(&path, name, names::qualified_name(name));
        if conditions[..i].iter().any(|before| before["name"] == condition["name"]) {
            errors.duplicate(&path, name);
        }
    }
}

pub(crate) fn rule(rule: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for (field, others) in [("operations", "operations"), ("apiGroups", "API groups"), ("apiVersions", "API versions")]
    {
        let (list, path) = (rule.list(field), path.child(field));
        if list.is_empty() {
            errors.required(&path, "");
        }
        if list.len() > 1 && list.iter().any(|item| item == "*") {
            errors.invalid(&path, list.to_vec(), format!("if '*' is present, must not specify other {others}"));
        }
        for (i, item) in list.iter().enumerate() {
            let text = item.as_str().unwrap_or_default();
            if field == "operations" && !OPERATIONS.contains(&text) {
                errors.not_supported(&path.index(i), text, &OPERATIONS);
            } else if field == "apiVersions" && text.is_empty() {
                errors.required(&path.index(i), "");
            }
        }
    }
    resources(rule.list("resources"), &path.child("resources"), errors);
    if let Some(scope) = rule.at("scope").as_str().filter(|scope| !matches!(*scope, "*" | "Cluster" | "Namespaced")) {
        errors.not_supported(&path.child("scope"), scope, &["*", "Cluster", "Namespaced"]);
    }
}

/// Patterns that others already cover are refused.
fn resources(list: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
    if list.is_empty() {
        errors.required(path, "");
    }
    let texts: Vec<&str> = list.iter().map(|item| item.as_str().unwrap_or_default()).collect();
    let (mut all_of, mut in_all) = (Vec::new(), Vec::new());
    for (i, text) in texts.iter().enumerate() {
        if text.is_empty() {
            errors.required(&path.index(i), "");
        }
        let Some((resource, sub)) = text.split_once('/') else { continue };
        if all_of.contains(&resource) {
            errors.invalid(&path.index(i), *text, format!("if '{resource}/*' is present, must not specify {text}"));
        }
        if in_all.contains(&sub) {
            errors.invalid(&path.index(i), *text, format!("if '*/{sub}' is present, must not specify {text}"));
        }
        if sub == "*" {
            all_of.push(resource);
        }
        if resource == "*" {
            in_all.push(sub);
        }
    }
    if texts.len() > 1 && texts.contains(&"*/*") {
        errors.invalid(path, list.to_vec(), "if '*/*' is present, must not specify other resources");
    }
    // The last one says whether there are any.
    let last = texts.iter().rfind(|text| !text.contains('/') && !text.is_empty());
    if texts.contains(&"*") && last.is_some_and(|last| *last != "*") {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(path, list.to_vec(), why);
    }
}
