//! ReplicationControllers, ReplicaSets and Deployments.

use serde_json::Value;

use super::options::Options;
use super::pod_template::template;
use super::pod_warnings;
use super::prelude::*;
use super::selector::{is_empty, label_selector};
use crate::names;
use crate::object_meta::subdomain_rule;
use crate::selector::{Operator, Requirement};

/// Whether a `metav1.LabelSelector` selects these labels; `None` where it says nothing at all.
pub(crate) fn selects(selector: &Value, labels: &Value) -> Option<bool> {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let mut all = true;
    for (key, value) in selector.map("matchLabels") {
        let value = value.as_str().unwrap_or_default();
        Requirement::checked(key, Operator::Equals, vec![value.to_owned()]).ok()?;
        all &= label(key) == Some(value);
    }
    for expression in selector.list("matchExpressions") {
        let key = expression.text("key");
        let values: Vec<String> = texts(expression, "values").map(str::to_owned).collect();
        let listed = label(key).is_some_and(|label| values.iter().any(|value| value == label));
        let (operator, matches) = match expression.text("operator") {
            "In" => (Operator::In, listed),
            "NotIn" => (Operator::NotIn, !listed),
            "Exists" => (Operator::Exists, label(key).is_some()),
            "DoesNotExist" => (Operator::DoesNotExist, label(key).is_none()),
            _ => return None,
        };
        Requirement::checked(key, operator, values).ok()?;
        all &= matches;
    }
    Some(all)
}

/// The template of a controller whose pods never end.
fn running_template(spec: &Value, selected: bool, what: &str, options: &Options, errors: &mut ErrorList) {
    let (path, value) = (Path::new("spec.template"), &spec["template"]);
    if !selected {
        let detail = "`selector` does not match template `labels`";
        errors.invalid(&path.child("metadata.labels"), value.at("metadata.labels").clone(), detail);
    }
    template(value, &path, options, errors);
    always_restarts(value, what, errors);
}

pub(crate) fn always_restarts(template: &Value, what: &str, errors: &mut ErrorList) {
    let path = Path::new("spec.template.spec");
    if template.text("spec.restartPolicy") != "Always" {
        errors.not_supported(&path.child("restartPolicy"), template.text("spec.restartPolicy"), &["Always"]);
    }
    if template.has("spec.activeDeadlineSeconds") {
        let detail = format!("activeDeadlineSeconds in {what} is not Supported");
        errors.forbidden(&path.child("activeDeadlineSeconds"), detail);
    }
}

fn options(old: Option<&Value>) -> Options {
    old.map_or_else(Options::default, |old| Options::of_changed(old.at("spec.template"), false))
}

/// `spec.selector`; `what` is the word in the message.
pub(crate) fn required_selector(spec: &Value, what: &str, errors: &mut ErrorList) {
    let (path, selector) = (Path::new("spec.selector"), &spec["selector"]);
    if selector.is_null() {
        return errors.required(&path, "");
    }
    label_selector(selector, false, &path, errors);
    if is_empty(selector) {
        errors.invalid(&path, selector.clone(), format!("empty selector is invalid for {what}"));
    }
}

/// Selector and template of a ReplicaSet or Deployment.
fn selector_and_template(spec: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    required_selector(spec, "deployment", errors);
    let (selector, labels) = (&spec["selector"], spec.at("template.metadata.labels"));
    match selects(selector, labels) {
        None => errors.invalid(&Path::new("spec.selector"), selector.clone(), "invalid label selector"),
        // An absent selector selects nothing, and so not the template.
        Some(selected) => {
            let selected = selected && !selector.is_null();
            running_template(spec, selected, "ReplicaSet", &options(old), errors);
        }
    }
}

fn non_negative_field(obj: &Value, field: &str, errors: &mut ErrorList) {
    if let Some(value) = obj.at(field).as_i64() {
        non_negative(value, &Path::new(field), errors);
    }
}

fn deployment_spec(obj: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    non_negative_field(obj, "spec.replicas", errors);
    let spec = &obj["spec"];
    selector_and_template(spec, old, errors);
    strategy(&spec["strategy"], errors);
    non_negative_field(obj, "spec.minReadySeconds", errors);
    non_negative_field(obj, "spec.revisionHistoryLimit", errors);
    non_negative_field(obj, "spec.progressDeadlineSeconds", errors);
    if let Some(seconds) = spec["progressDeadlineSeconds"].as_i64()
        && seconds <= spec.int("minReadySeconds")
    {
        let path = Path::new("spec.progressDeadlineSeconds");
        errors.invalid(&path, seconds, "must be greater than minReadySeconds");
    }
}

fn strategy(strategy: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec.strategy");
    let (rolling, at) = (&strategy["rollingUpdate"], path.child("rollingUpdate"));
    match strategy.text("type") {
        "Recreate" if rolling.is_null() => {}
        "Recreate" => errors.forbidden(&at, "may not be specified when strategy `type` is 'Recreate'"),
        "RollingUpdate" if rolling.is_null() => {
            errors.required(&at, "this should be defaulted and never be nil");
        }
        "RollingUpdate" => {
            let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
            let unavailable_at = at.child("maxUnavailable");
            count_or_percent(unavailable, &unavailable_at, errors);
            count_or_percent(surge, &at.child("maxSurge"), errors);
            if amount(unavailable) == 0 && amount(surge) == 0 {
                errors.invalid(&unavailable_at, unavailable.clone(), "may not be 0 when `maxSurge` is 0");
            }
            at_most_all(unavailable, &unavailable_at, errors);
        }
        ty => {
            let shown = match rolling {
                Value::Null => "null".to_owned(),
                rolling => {
                    let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
                    format!("{{\"MaxUnavailable\":{unavailable},\"MaxSurge\":{surge}}}")
                }
            };
            let shown = format!("{{\"Type\":{ty:?},\"RollingUpdate\":{shown}}}");
            let detail = "supported values: \"Recreate\", \"RollingUpdate\"";
            errors.shown(ErrorType::NotSupported, &path, &shown, detail);
        }
    }
}

/// A number that is not negative, or a percentage.
pub(crate) fn count_or_percent(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match value {
        Value::String(text) => errors.each_invalid(path, text, names::percent(text)),
        _ => non_negative(value.as_i64().unwrap_or_default(), path, errors),
    }
}

/// The number itself or the number of percent.
pub(crate) fn amount(value: &Value) -> i64 {
    match value {
        Value::String(text) => text.strip_suffix('%').unwrap_or(text).parse().unwrap_or_default(),
        _ => value.as_i64().unwrap_or_default(),
    }
}

pub(crate) fn at_most_all(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let percent = value.as_str().filter(|text| names::percent(text).is_empty());
    if percent.is_some_and(|text| amount(&Value::from(text)) > 100) {
        errors.invalid(path, value.clone(), "must not be greater than 100%");
    }
}

pub(crate) fn deployment(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    deployment_spec(obj, None, errors);
}

pub(crate) fn deployment_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    deployment_spec(obj, Some(old), errors);
    same_selector(obj, old, errors);
}

fn same_selector(obj: &Value, old: &Value, errors: &mut ErrorList) {
    immutable(obj.at("spec.selector"), old.at("spec.selector"), &Path::new("spec.selector"), errors);
}

pub(crate) fn deployment_status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let counts = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    status_counts(obj, &counts, &["updatedReplicas", "readyReplicas", "availableReplicas"], errors);
    not_decremented(obj, old, errors);
}

pub(crate) fn not_decremented(obj: &Value, old: &Value, errors: &mut ErrorList) {
    let (new, was) = (obj.at("status.collisionCount"), old.at("status.collisionCount"));
    if was.as_i64().is_some_and(|was| new.as_i64().is_none_or(|new| new < was)) {
        let path = Path::new("status.collisionCount");
        errors.invalid(&path, new.as_i64().unwrap_or_default(), "cannot be decremented");
    }
}

fn status_counts(obj: &Value, counts: &[&str], parts: &[&str], errors: &mut ErrorList) {
    let (path, status) = (Path::new("status"), &obj["status"]);
    counts.iter().for_each(|field| non_negative(status.int(field), &path.child(field), errors));
    for field in parts.iter().filter(|field| status.int(field) > status.int("replicas")) {
        errors.invalid(&path.child(field), status.int(field), "cannot be greater than status.replicas");
    }
    let available = status.int("availableReplicas");
    if available > status.int("readyReplicas") {
        errors.invalid(&path.child("availableReplicas"), available, "cannot be greater than readyReplicas");
    }
}

pub(crate) fn replica_set(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    replica_set_spec(obj, None, errors);
}

fn replica_set_spec(obj: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    non_negative_field(obj, "spec.replicas", errors);
    non_negative_field(obj, "spec.minReadySeconds", errors);
    selector_and_template(&obj["spec"], old, errors);
}

pub(crate) fn replica_set_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    replica_set_spec(obj, Some(old), errors);
    same_selector(obj, old, errors);
}

const REPLICA_COUNTS: &[&str] = &[
    "replicas",
    "fullyLabeledReplicas",
    "readyReplicas",
    "availableReplicas",
    "observedGeneration",
    "terminatingReplicas",
];
const REPLICA_PARTS: &[&str] = &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];

/// Status of a ReplicaSet or ReplicationController.
pub(crate) fn replicas_status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    status_counts(obj, REPLICA_COUNTS, REPLICA_PARTS, errors);
}

/// Upstream declares the rule for names, though not for what they are generated from: it counts bytes then.
fn controller_name(name: &str, prefix: bool) -> Vec<String> {
    let max = names::DNS1123_SUBDOMAIN_MAX_LENGTH;
    let too_long = format!("must be no more than {max} characters");
    let in_bytes = |error| if error == too_long { format!("must be no more than {max} bytes") } else { error };
    let problems = subdomain_rule(name, prefix).into_iter();
    if prefix { problems.collect() } else { problems.map(in_bytes).collect() }
}

pub(crate) fn replication_controller(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, controller_name, errors);
    replication_controller_spec(obj, None, errors);
}

pub(crate) fn replication_controller_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    replication_controller_spec(obj, Some(old), errors);
}

fn replication_controller_spec(obj: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    let spec = &obj["spec"];
    let selector = spec.map("selector");
    if selector.is_empty() {
        errors.required(&Path::new("spec.selector"), "");
    }
    if spec["template"].is_null() {
        errors.required(&Path::new("spec.template"), "");
    } else {
        let labels = spec.at("template.metadata.labels");
        let selected = selector.iter().all(|(key, value)| labels.get(key) == Some(value));
        running_template(spec, selected, "ReplicationController", &options(old), errors);
    }
    // These are declared, so upstream reports them last.
    match spec["replicas"].as_i64() {
        None => errors.required(&Path::new("spec.replicas"), ""),
        Some(replicas) => non_negative(replicas, &Path::new("spec.replicas"), errors),
    }
    non_negative_field(obj, "spec.minReadySeconds", errors);
}

/// Warnings of a workload: of its name when new, of its template when that has changed.
pub(crate) fn warnings(obj: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings: Vec<String> = if old.is_none() { name_warning(obj).into_iter().collect() } else { Vec::new() };
    warnings.extend(template_warnings(obj, old));
    warnings
}

pub(crate) fn name_warning(obj: &Value) -> Option<String> {
    let problems = names::dns1123_label(crate::meta::name(obj));
    (!problems.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label \
             is recommended: [{}]",
            problems.join(" ")
        )
    })
}

/// As [`warnings`], but a changed ReplicationController is warned of what its template was.
pub(crate) fn replication_controller_warnings(obj: &Value, old: Option<&Value>) -> Vec<String> {
    match old {
        Some(old) if old["metadata"]["generation"] != obj["metadata"]["generation"] => template_warnings(old, None),
        _ => warnings(obj, old),
    }
}

pub(crate) fn template_warnings(obj: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some_and(|old| old["metadata"]["generation"] == obj["metadata"]["generation"]) {
        return Vec::new();
    }
    let path = Path::new("spec.template");
    pod_warnings::of_template(obj.at("spec.template"), &path)
}

/// A ControllerRevision.
pub(crate) fn revision(obj: &Value, errors: &mut ErrorList) {
    numbered(obj, errors);
    let path = Path::new("data");
    match &obj["data"] {
        Value::Object(_) => {}
        Value::Null => errors.required(&path, "data is mandatory"),
        _ => errors.required(&path, "data must be a valid JSON object"),
    }
}

fn numbered(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    non_negative(obj.int("revision"), &Path::new("revision"), errors);
}

pub(crate) fn revision_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    numbered(obj, errors);
    immutable(&obj["data"], &old["data"], &Path::new("data"), errors);
}
