//! HorizontalPodAutoscalers, in the names of v2.

use serde_json::Value;

use super::prelude::*;
use super::resources::{container_resource_name, quantity};
use crate::names;
use crate::object_meta::subdomain_rule;

pub(crate) fn autoscaler(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    spec(obj, None, errors);
}

pub(crate) fn update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    spec(obj, Some(old), errors);
}

pub(crate) fn status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let path = Path::new("status");
    let conditions = path.child("conditions");
    for (i, condition) in obj.list("status.conditions").iter().enumerate() {
        let at = conditions.index(i);
        non_negative(condition.int("observedGeneration"), &at.child("observedGeneration"), errors);
    }
    for field in ["currentReplicas", "desiredReplicas"] {
        non_negative(obj["status"].int(field), &path.child(field), errors);
    }
}

/// Which versions a reference may name.
#[derive(Clone, Copy)]
struct Reference {
    allow_empty_group: bool,
    allow_bad_version: bool,
}

fn spec(obj: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    let strict = Reference { allow_empty_group: false, allow_bad_version: false };
    let lenient = Reference { allow_empty_group: true, allow_bad_version: false };
    let target = &spec["scaleTargetRef"];
    // What was so before the rules came may stay.
    let same_target = old.is_some_and(|old| {
        ["apiVersion", "kind"].iter().all(|field| target.text(field) == old.at("spec.scaleTargetRef").text(field))
    });
    let bad_metric = |metric: &Value| {
        metric.text("type") == "Object"
            && version_problem(metric.text("object.describedObject.apiVersion"), lenient).is_some()
    };
    let had_bad_metric = old.is_some_and(|old| old.list("spec.metrics").iter().any(bad_metric));
    let (minimum, maximum) = (spec["minReplicas"].as_i64(), spec.int("maxReplicas"));
    if minimum.is_some_and(|minimum| maximum < minimum) {
        errors.invalid(&path.child("maxReplicas"), maximum, "must be greater than or equal to `minReplicas`");
    }
    // The one scalable kind of the core group.
    let rule = if target.text("kind") == "ReplicationController" { lenient } else { strict };
    let rule = Reference { allow_bad_version: same_target, ..rule };
    reference(target, rule, &path.child("scaleTargetRef"), errors);
    metrics(spec, Reference { allow_bad_version: had_bad_metric, ..lenient }, &path.child("metrics"), errors);
    for rules in ["scaleUp", "scaleDown"] {
        let at = path.child("behavior");
        scaling_rules(spec["behavior"].at(rules), &at.child(rules), errors);
    }
    // Declared, so upstream reports these last.
    if let Some(minimum) = minimum.filter(|minimum| *minimum < 0) {
        errors.invalid(&path.child("minReplicas"), minimum, NOT_NEGATIVE);
    }
    match maximum {
        0 => errors.required(&path.child("maxReplicas"), ""),
        ..0 => errors.invalid(&path.child("maxReplicas"), maximum, "must be greater than or equal to 1"),
        _ => {}
    }
}

fn version_problem(version: &str, rule: Reference) -> Option<String> {
    if rule.allow_bad_version {
        return None;
    }
    match version.matches('/').count() {
        0 if !rule.allow_empty_group => Some("apiVersion must specify API group".to_owned()),
        1 if version.starts_with('/') && !rule.allow_empty_group && version.len() > 1 => {
            Some("apiVersion must specify API group".to_owned())
        }
        0 | 1 => None,
        _ => Some(format!("unexpected GroupVersion string: {version}")),
    }
}

fn reference(value: &Value, rule: Reference, path: &Path<'_>, errors: &mut ErrorList) {
    for field in ["kind", "name"] {
        match value.text(field) {
            "" => errors.required(&path.child(field), ""),
            text => errors.each_invalid(&path.child(field), text, names::path_segment(text)),
        }
    }
    let version = value.text("apiVersion");
    if let Some(why) = version_problem(version, rule) {
        errors.invalid(&path.child("apiVersion"), version, why);
    }
}

fn metrics(spec: &Value, rule: Reference, path: &Path<'_>, errors: &mut ErrorList) {
    let metrics = spec.list("metrics");
    metrics.iter().enumerate().for_each(|(i, metric)| metric_spec(metric, rule, &path.index(i), errors));
    if spec["minReplicas"] == 0 && !metrics.iter().any(|metric| matches!(metric.text("type"), "Object" | "External")) {
        let detail = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.forbidden(path, detail);
    }
}

const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];
/// In the order in which upstream looks for them, each with its type.
const SOURCES: [(&str, &str); 5] = [
    ("object", "Object"),
    ("external", "External"),
    ("pods", "Pods"),
    ("resource", "Resource"),
    ("containerResource", "ContainerResource"),
];

fn metric_spec(metric: &Value, rule: Reference, path: &Path<'_>, errors: &mut ErrorList) {
    let ty = metric.text("type");
    if ty.is_empty() {
        errors.required(&path.child("type"), "must specify a metric source type");
    }
    one_of(ty, TYPES, &path.child("type"), errors);
    let present: Vec<&str> = SOURCES.iter().map(|(field, _)| *field).filter(|field| metric.has(field)).collect();
    if let Some(first) = present.first() {
        source(first, &metric[*first], rule, &path.child(first), errors);
    }
    let expected = SOURCES.iter().find(|(_, of)| *of == ty).map_or("", |(field, _)| *field);
    if !expected.is_empty() && !metric.has(expected) {
        errors.required(&path.child(expected), "must populate information for the given metric source");
    }
    if present.len() != 1 {
        for field in present.into_iter().filter(|field| *field != expected) {
            errors.forbidden(&path.child(field), "must populate the given metric source only");
        }
    }
}

fn source(field: &str, value: &Value, rule: Reference, path: &Path<'_>, errors: &mut ErrorList) {
    match field {
        "object" => reference(&value["describedObject"], rule, &path.child("describedObject"), errors),
        "resource" | "containerResource" => resource(field, value, path, errors),
        _ => {}
    }
    if matches!(field, "object" | "external" | "pods") {
        identifier(value.at("metric.name"), &path.child("metric.name"), errors);
    }
    let (target, path) = (&value["target"], path.child("target"));
    metric_target(target, &path, errors);
    let (has_value, has_average) = (target.has("value"), target.has("averageValue"));
    let has_utilization = target.has("averageUtilization");
    match field {
        "object" if !has_value && !has_average => {
            errors.required(&path.child("averageValue"), "must set either a target value or averageValue");
        }
        "external" if !has_value && !has_average => {
            let detail = "must set either a target value for metric or a per-pod target";
            errors.required(&path.child("averageValue"), detail);
        }
        "external" if has_value && has_average => {
            let detail = "may not set both a target value for metric and a per-pod target";
            errors.forbidden(&path.child("value"), detail);
        }
        "pods" if !has_average => {
            errors.required(&path.child("averageValue"), "must specify a positive target averageValue");
        }
        "resource" | "containerResource" if !has_utilization && !has_average => {
            let detail = "must set either a target raw value or a target utilization";
            errors.required(&path.child("averageUtilization"), detail);
        }
        "resource" | "containerResource" if has_utilization && has_average => {
            let detail = "may not set both a target raw value and a target utilization";
            errors.forbidden(&path.child("averageValue"), detail);
        }
        _ => {}
    }
}

fn resource(field: &str, value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match value.text("name") {
        "" => errors.required(&path.child("name"), "must specify a resource name"),
        name if field == "containerResource" => container_resource_name(name, &path.child("name"), errors),
        _ => {}
    }
    if field == "containerResource" {
        match value.text("container") {
            "" => errors.required(&path.child("container"), "must specify a container"),
            name => dns1123_label(name, &path.child("container"), errors),
        }
    }
}

fn identifier(name: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match name.as_str().unwrap_or_default() {
        "" => errors.required(path, "must specify a metric name"),
        name => errors.each_invalid(path, name, names::path_segment(name)),
    }
}

fn metric_target(target: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let ty = target.text("type");
    if ty.is_empty() {
        errors.required(&path.child("type"), "must specify a metric target type");
    }
    if !matches!(ty, "Utilization" | "Value" | "AverageValue") {
        errors.invalid(&path.child("type"), ty, "must be either Utilization, Value, or AverageValue");
    }
    for field in ["value", "averageValue"] {
        let amount = quantity(&target[field]);
        if target.has(field) && amount.sign() <= 0 {
            errors.invalid(&path.child(field), amount.to_string(), "must be positive");
        }
    }
    if let Some(percent) = target["averageUtilization"].as_i64().filter(|percent| *percent < 1) {
        errors.invalid(&path.child("averageUtilization"), percent, "must be greater than 0");
    }
}

const MAX_PERIOD_SECONDS: i64 = 1800;
const MAX_WINDOW_SECONDS: i64 = 3600;

fn scaling_rules(rules: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if rules.is_null() {
        return;
    }
    let at = path.child("stabilizationWindowSeconds");
    match rules["stabilizationWindowSeconds"].as_i64() {
        Some(seconds @ ..0) => errors.invalid(&at, seconds, "must be greater than or equal to zero"),
        Some(seconds) if seconds > MAX_WINDOW_SECONDS => {
            errors.invalid(&at, seconds, format!("must be less than or equal to {MAX_WINDOW_SECONDS}"));
        }
        _ => {}
    }
    optional_one_of(&rules["selectPolicy"], &["Disabled", "Max", "Min"], &path.child("selectPolicy"), errors);
    let policies = path.child("policies");
    if rules.list("policies").is_empty() {
        errors.required(&policies, "must specify at least one Policy");
    }
    for (i, policy) in rules.list("policies").iter().enumerate() {
        let path = policies.index(i);
        one_of(policy.text("type"), &["Percent", "Pods"], &path.child("type"), errors);
        positive(policy.int("value"), &path.child("value"), errors);
        let (seconds, at) = (policy.int("periodSeconds"), path.child("periodSeconds"));
        positive(seconds, &at, errors);
        if seconds > MAX_PERIOD_SECONDS {
            errors.invalid(&at, seconds, format!("must be less than or equal to {MAX_PERIOD_SECONDS}"));
        }
    }
    let tolerance = quantity(&rules["tolerance"]);
    if tolerance.sign() < 0 {
        errors.invalid(&path.child("tolerance"), tolerance.to_string(), NOT_NEGATIVE);
    }
}
