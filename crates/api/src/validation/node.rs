//! Nodes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::network::{cidr_warnings, is_dual_stack, legacy_cidr};
use super::prelude::*;
use super::resources::{quantity, resource_amount};
use super::scheduling::TAINT_EFFECTS;
use crate::kinds::read::annotation;
use crate::names;
use crate::object_meta::subdomain_rule;

pub(crate) fn node(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    annotations(obj, errors);
    // Upstream starts from `metadata` here.
    taints(obj.list("spec.taints"), &Path::new("metadata.taints"), errors);
    amounts(obj, errors);
    if let Some(capacity) = obj.at("status.nodeInfo.swap.capacity").as_i64() {
        positive(capacity, &Path::new("metadata.nodeSwapStatus.capacity"), errors);
    }
    declared_features(obj, errors);
    pod_cidrs(obj, &Path::new("spec.podCIDRs"), errors);
}

pub(crate) fn update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    node(obj, errors);
    status(obj, old, errors);
}

/// Upstream checks the same whichever part of a node changes.
pub(crate) fn status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    annotations(obj, errors);
    amounts(obj, errors);
    declared_features(obj, errors);
    let path = Path::new("status.addresses");
    let addresses = obj.list("status.addresses");
    for (i, address) in addresses.iter().enumerate().filter(|(i, address)| addresses[..*i].contains(address)) {
        let shown = format!("{{\"Type\":{:?},\"Address\":{:?}}}", address.text("type"), address.text("address"));
        errors.shown(ErrorType::Duplicate, &path.index(i), &shown, "");
    }
    fixed_spec(obj, old, errors);
    taints(obj.list("spec.taints"), &Path::new("metadata.taints"), errors);
    if obj.text("spec.externalID") != old.text("spec.externalID") {
        errors.forbidden(&Path::new("spec.externalID"), "may not be updated");
    }
}

/// What a node is given once.
fn fixed_spec(obj: &Value, old: &Value, errors: &mut ErrorList) {
    let (new, was) = (obj.list("spec.podCIDRs"), old.list("spec.podCIDRs"));
    let changes = if new.len() == was.len() { new.iter().zip(was).filter(|(new, was)| new != was).count() } else { 1 };
    for _ in 0..if was.is_empty() { 0 } else { changes } {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.forbidden(&Path::new("spec.podCIDRs"), detail);
    }
    let (new, was) = (obj.text("spec.providerID"), old.text("spec.providerID"));
    if !was.is_empty() && new != was {
        let detail = match new {
            "" => "field cannot be cleared once set",
            _ => "field cannot be modified once set",
        };
        errors.invalid(&Path::new("spec.providerID"), Value::Null, detail);
    }
}

const TAINTS_ANNOTATION: &str = "scheduler.alpha.kubernetes.io/taints";

const AVOID_PODS_ANNOTATION: &str = "scheduler.alpha.kubernetes.io/preferAvoidPods";

fn annotations(obj: &Value, errors: &mut ErrorList) {
    let avoided = annotation(obj, AVOID_PODS_ANNOTATION);
    if !avoided.is_empty()
        && let Err(error) = serde_json::from_str::<Value>(avoided)
    {
        let why = if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
        errors.invalid(&Path::new("metadata.annotations.AvoidPods"), AVOID_PODS_ANNOTATION, why);
    }
    let text = annotation(obj, TAINTS_ANNOTATION);
    if text.is_empty() {
        return;
    }
    let path = Path::new("metadata.annotations");
    match serde_json::from_str::<Vec<Value>>(text) {
        Ok(list) => taints(&list, &path.child(TAINTS_ANNOTATION), errors),
        Err(why) => errors.invalid(&path, TAINTS_ANNOTATION, why.to_string()),
    }
}

fn taints(list: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
    let mut taken = BTreeSet::new();
    for (i, taint) in list.iter().enumerate() {
        let path = path.index(i);
        let (key, value, effect) = (taint.text("key"), taint.text("value"), taint.text("effect"));
        qualified_name(key, &path.child("key"), errors);
        let problems = names::label_value(value);
        if !problems.is_empty() {
            errors.invalid(&path.child("value"), value, problems.join(";"));
        }
        match effect {
            "" => errors.required(&path.child("effect"), ""),
            _ => one_of(effect, TAINT_EFFECTS, &path.child("effect"), errors),
        }
        if !taken.insert((effect, key)) {
            let added = &taint["timeAdded"];
            let shown = format!("{{\"Key\":{key:?},\"Value\":{value:?},\"Effect\":{effect:?},\"TimeAdded\":{added}}}");
            let detail = "taints must be unique by key and effect pair";
            errors.shown(ErrorType::Duplicate, &path, &shown, detail);
        }
    }
}

fn amounts(obj: &Value, errors: &mut ErrorList) {
    for field in ["status.capacity", "status.allocatable"] {
        let path = Path::new(field);
        for (name, amount) in obj.map(field) {
            resource_amount(name, &quantity(amount), &path.child(name), errors);
        }
    }
}

fn declared_features(obj: &Value, errors: &mut ErrorList) {
    let path = Path::new("status.declaredFeatures");
    let mut previous: Option<&str> = None;
    for (i, name) in texts(obj, "status.declaredFeatures").enumerate() {
        let path = path.index(i);
        match previous {
            Some(previous) if previous == name => errors.duplicate(&path, name),
            Some(previous) if previous > name => errors.invalid(&path, name, "list must be sorted alphabetically"),
            _ => {}
        }
        if name.len() > names::DNS1123_SUBDOMAIN_MAX_LENGTH {
            let max = names::DNS1123_SUBDOMAIN_MAX_LENGTH;
            errors.invalid(
                &path,
                name,
                format!("invalid feature name {name:?}: must be no more than {max} characters"),
            );
        } else if !is_feature(name) {
            let detail = format!(
                "invalid feature name {name:?}: must start with an UpperCamelCase segment, with subsequent segments \
                 separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters \
                 and slashes"
            );
            errors.invalid(&path, name, detail);
        }
        previous = Some(name);
    }
}

fn is_feature(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.split('/').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

fn pod_cidrs(obj: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let list = obj.list("spec.podCIDRs");
    for (i, cidr) in texts(obj, "spec.podCIDRs").enumerate() {
        legacy_cidr(cidr, &[], &path.index(i), errors);
    }
    if list.len() > 1 {
        let addresses = texts(obj, "spec.podCIDRs").map(|cidr| cidr.split('/').next().unwrap_or_default());
        let is_cidr = |cidr| super::network::parse_cidr_sloppy(cidr).is_some();
        let dual = is_dual_stack(addresses).filter(|_| texts(obj, "spec.podCIDRs").all(is_cidr));
        if dual.is_none() {
            let mut all = texts(obj, "spec.podCIDRs").enumerate();
            let (i, bad) = all.find(|(_, c)| super::network::parse_cidr_sloppy(c).is_none()).unwrap_or_default();
            let detail = format!(
                "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[{i}]: <nil> (invalid CIDR \
                 address: {bad})"
            );
            errors.internal(path, detail);
        }
        if dual != Some(true) || list.len() > 2 {
            errors.invalid(path, list.to_vec(), "may specify no more than one CIDR for each IP family");
        }
    }
}

pub(crate) fn warnings(obj: &Value, _: Option<&Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    if obj.has("spec.configSource") {
        warnings.push("spec.configSource: the feature is removed".to_owned());
    }
    if !obj.text("spec.externalID").is_empty() {
        warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
    }
    let path = Path::new("spec.podCIDRs");
    for (i, cidr) in texts(obj, "spec.podCIDRs").enumerate() {
        cidr_warnings(cidr, &path.index(i), &mut warnings);
    }
    warnings
}

/// What to say of a label of nodes that has had its day.
pub(crate) fn deprecated_label(key: &str) -> Option<&'static str> {
    Some(match key {
        "beta.kubernetes.io/arch" => "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os" => "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "failure-domain.beta.kubernetes.io/region" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"
        }
        "failure-domain.beta.kubernetes.io/zone" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"
        }
        "beta.kubernetes.io/instance-type" => {
            "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"
        }
        "app.kubernetes.io/created-by" => "deprecated since v1.9",
        "scheduler.alpha.kubernetes.io/preferAvoidPods" => "deprecated since v1.22; use Taints and Tolerations instead",
        "node-role.kubernetes.io/master" => "use \"node-role.kubernetes.io/control-plane\" instead",
        _ => return None,
    })
}

/// Of a label selector that picks nodes.
pub(crate) fn selector_warnings(selector: &Value, path: &Path<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    node_selector_term_warnings(selector, false, path, &mut warnings);
    let labels = path.child("matchLabels");
    for key in selector.map("matchLabels").keys() {
        if let Some(why) = deprecated_label(key) {
            warnings.push(format!("{}: {why}", labels.child(key)));
        }
    }
    warnings
}

pub(crate) fn node_selector_term_warnings(
    term: &Value,
    check_values: bool,
    path: &Path<'_>,
    warnings: &mut Vec<String>,
) {
    let path = path.child("matchExpressions");
    for (i, expression) in term.list("matchExpressions").iter().enumerate() {
        let (path, key) = (path.index(i), expression.text("key"));
        if let Some(why) = deprecated_label(key) {
            warnings.push(format!("{}: {key} is {why}", path.child("key")));
        }
        let values = path.child("values");
        for (i, value) in texts(expression, "values").enumerate().take_while(|_| check_values) {
            for why in names::label_value(value) {
                warnings.push(format!("{}: {value} is invalid, {why}", values.index(i)));
            }
        }
    }
}
