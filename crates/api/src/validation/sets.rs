//! StatefulSets, DaemonSets and PodDisruptionBudgets.

use serde_json::Value;

use super::claim::{ClaimOptions, claim_spec};
use super::options::Options;
use super::pod_template::{metadata_of, template};
use super::prelude::*;
use super::selector::{has_bad_values, is_empty, label_selector};
use super::volume_warnings;
use super::workloads::{
    always_restarts, amount, at_most_all, count_or_percent, not_decremented, required_selector, selects,
    template_warnings,
};
use crate::object_meta::{label_rule, subdomain_rule};

const MISMATCH: &str = "`selector` does not match template `labels`";

pub(crate) fn stateful_set(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, label_rule, errors);
    stateful_set_spec(obj, None, false, errors);
}

pub(crate) fn stateful_set_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    // A template that broke a rule before may go on breaking it.
    let mut before = ErrorList::default();
    stateful_set_spec(old, Some(old), false, &mut before);
    stateful_set_spec(obj, Some(old), !before.is_empty(), errors);
    let path = Path::new("spec");
    for field in ["selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy"] {
        immutable(&obj["spec"][field], &old["spec"][field], &path.child(field), errors);
    }
}

fn stateful_set_spec(obj: &Value, old: Option<&Value>, skip_template: bool, errors: &mut ErrorList) {
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    let at = path.child("podManagementPolicy");
    match spec.text("podManagementPolicy") {
        "" => errors.required(&at, ""),
        "OrderedReady" | "Parallel" => {}
        other => errors.invalid(&at, other, "must be 'OrderedReady' or 'Parallel'"),
    }
    stateful_strategy(&spec["updateStrategy"], &path.child("updateStrategy"), errors);
    let at = path.child("persistentVolumeClaimRetentionPolicy");
    for field in ["whenDeleted", "whenScaled"] {
        if spec.has("persistentVolumeClaimRetentionPolicy") {
            let policy = spec["persistentVolumeClaimRetentionPolicy"].text(field);
            one_of(policy, &["Retain", "Delete"], &at.child(field), errors);
        }
    }
    let at = path.child("volumeClaimTemplates");
    for (i, claim) in spec.list("volumeClaimTemplates").iter().enumerate().take_while(|_| old.is_none()) {
        claim_spec(&claim["spec"], &at.index(i).child("spec"), ClaimOptions::default(), errors);
    }
    for field in ["replicas", "minReadySeconds", "ordinals.start"] {
        non_negative(spec.int(field), &path.child(field), errors);
    }
    if old.is_none() && !spec.text("serviceName").is_empty() {
        dns1123_label(spec.text("serviceName"), &path.child("serviceName"), errors);
    }
    required_selector(spec, "statefulset", errors);
    match selects(&spec["selector"], spec.at("template.metadata.labels")) {
        None => errors.invalid(&path.child("selector"), spec["selector"].clone(), ""),
        Some(selected) => {
            let selected = selected && !spec["selector"].is_null();
            stateful_template(spec, selected, old, skip_template, errors);
        }
    }
    always_restarts(&spec["template"], "StatefulSet", errors);
}

/// The template as its pods will be: with a volume for each claim, and names that the controller gives.
fn stateful_template(spec: &Value, selected: bool, old: Option<&Value>, skip: bool, errors: &mut ErrorList) {
    let path = Path::new("spec.template");
    let mut value = spec["template"].clone();
    if !selected {
        errors.invalid(&path.child("metadata.labels"), value.at("metadata.labels").clone(), MISMATCH);
    }
    let claims = spec.list("volumeClaimTemplates").iter().map(|claim| claim.text("metadata.name"));
    let mut volumes: Vec<Value> = claims
        .clone()
        .enumerate()
        .filter(|(i, name)| !claims.clone().take(*i).any(|before| before == *name))
        .map(|(_, name)| serde_json::json!({ "name": name, "persistentVolumeClaim": { "claimName": name } }))
        .collect();
    if let Some(Value::Object(pod)) = value.get_mut("spec") {
        pod.remove("hostname");
        pod.remove("subdomain");
        if !volumes.is_empty() {
            let own = pod.get("volumes").and_then(Value::as_array).cloned().unwrap_or_default();
            volumes.extend(own.into_iter().filter(|volume| !claims.clone().any(|name| name == volume.text("name"))));
            pod.insert("volumes".into(), volumes.into());
        }
    }
    let options = old.map_or_else(Options::default, |old| Options::of_changed(old.at("spec.template"), false));
    if !skip {
        template(&value, &path, &options, errors);
    }
    metadata_of(&value, &path, &options, errors);
}

fn stateful_strategy(strategy: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (rolling, at) = (&strategy["rollingUpdate"], path.child("rollingUpdate"));
    match strategy.text("type") {
        "" => errors.required(path, ""),
        "OnDelete" => {
            if !rolling.is_null() {
                let shown = format!(
                    "{{\"Partition\":{},\"MaxUnavailable\":{}}}",
                    rolling.int("partition"),
                    rolling["maxUnavailable"]
                );
                errors.shown(ErrorType::Invalid, &at, &shown, "only allowed for updateStrategy 'RollingUpdate'");
            }
        }
        "RollingUpdate" => {
            non_negative(rolling.int("partition"), &at.child("partition"), errors);
            let (value, at) = (&rolling["maxUnavailable"], at.child("maxUnavailable"));
            if !value.is_null() {
                count_or_percent(value, &at, errors);
                if amount(value) == 0 {
                    errors.invalid(&at, value.clone(), "cannot be 0");
                }
                at_most_all(value, &at, errors);
            }
        }
        ty => {
            let shown = format!("{{\"Type\":{ty:?},\"RollingUpdate\":{rolling}}}");
            errors.shown(ErrorType::Invalid, path, &shown, "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
}

pub(crate) fn stateful_set_status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    let (status, path) = (&obj["status"], Path::new("status"));
    for field in [
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ] {
        non_negative(status.int(field), &path.child(field), errors);
    }
    for field in ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"] {
        if status.int(field) > status.int("replicas") {
            errors.invalid(&path.child(field), status.int(field), "cannot be greater than status.replicas");
        }
    }
    let available = status.int("availableReplicas");
    if available > status.int("readyReplicas") {
        errors.invalid(&path.child("availableReplicas"), available, "cannot be greater than status.readyReplicas");
    }
    metadata_update(obj, old, errors);
    not_decremented(obj, old, errors);
}

pub(crate) fn stateful_set_warnings(obj: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings = template_warnings(obj, old);
    let path = Path::new("spec.volumeClaimTemplates");
    for (i, claim) in obj.list("spec.volumeClaimTemplates").iter().enumerate() {
        let at = path.index(i);
        // Upstream's path of an update has one name more.
        let at = if old.is_some() { at.child("Spec") } else { at };
        volume_warnings::claim(&claim["spec"], &at, &mut warnings);
    }
    if obj.int("spec.revisionHistoryLimit") < 0 {
        warnings.push(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                .to_owned(),
        );
    }
    warnings
}

pub(crate) fn daemon_set(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    daemon_set_spec(obj, &Options::default(), errors);
}

pub(crate) fn daemon_set_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    immutable(obj.at("spec.selector"), old.at("spec.selector"), &Path::new("spec.selector"), errors);
    let mut options = Options::of_changed(old.at("spec.template"), false);
    options.allow_bad_affinity_selectors |= has_bad_values(old.at("spec.selector"));
    daemon_set_spec(obj, &options, errors);
}

fn daemon_set_spec(obj: &Value, options: &Options, errors: &mut ErrorList) {
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    let selector = &spec["selector"];
    label_selector(selector, options.allow_bad_affinity_selectors, &path.child("selector"), errors);
    let labels = spec.at("template.metadata.labels");
    if selects(selector, labels).is_some_and(|selected| !selected || selector.is_null()) {
        errors.invalid(&path.child("template.metadata.labels"), labels.clone(), MISMATCH);
    }
    if !selector.is_null() && is_empty(selector) {
        errors.invalid(&path.child("selector"), selector.clone(), "empty selector is invalid for daemonset");
    }
    template(&spec["template"], &path.child("template"), options, errors);
    always_restarts(&spec["template"], "DaemonSet", errors);
    non_negative(spec.int("minReadySeconds"), &path.child("minReadySeconds"), errors);
    daemon_strategy(&spec["updateStrategy"], &path.child("updateStrategy"), errors);
    non_negative(spec.int("revisionHistoryLimit"), &path.child("revisionHistoryLimit"), errors);
}

fn daemon_strategy(strategy: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (rolling, at) = (&strategy["rollingUpdate"], path.child("rollingUpdate"));
    match strategy.text("type") {
        "OnDelete" => {}
        "RollingUpdate" if rolling.is_null() => errors.required(&at, ""),
        "RollingUpdate" => {
            let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
            let (unavailable_at, surge_at) = (at.child("maxUnavailable"), at.child("maxSurge"));
            count_or_percent(unavailable, &unavailable_at, errors);
            count_or_percent(surge, &surge_at, errors);
            at_most_all(unavailable, &unavailable_at, errors);
            at_most_all(surge, &surge_at, errors);
            match (amount(unavailable) != 0, amount(surge) != 0) {
                (true, true) => {
                    errors.invalid(&surge_at, surge.clone(), "may not be set when maxUnavailable is non-zero");
                }
                (false, false) => errors.required(&unavailable_at, "cannot be 0 when maxSurge is 0"),
                _ => {}
            }
        }
        ty => {
            let shown = format!("{{\"Type\":{ty:?},\"RollingUpdate\":{rolling}}}");
            let detail = "supported values: \"RollingUpdate\", \"OnDelete\"";
            errors.shown(ErrorType::NotSupported, path, &shown, detail);
        }
    }
}

pub(crate) fn daemon_set_status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let path = Path::new("status");
    for field in [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ] {
        non_negative(obj["status"].int(field), &path.child(field), errors);
    }
    not_decremented(obj, old, errors);
}

/// Upstream does not look at a budget's metadata beyond what holds for all kinds.
pub(crate) fn disruption_budget(obj: &Value, errors: &mut ErrorList) {
    budget_spec(obj, false, errors);
}

pub(crate) fn disruption_budget_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    budget_spec(obj, has_bad_values(old.at("spec.selector")), errors);
}

fn budget_spec(obj: &Value, allow_bad_values: bool, errors: &mut ErrorList) {
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    if spec.has("minAvailable") && spec.has("maxUnavailable") {
        let shown = format!(
            "{{\"MinAvailable\":{},\"Selector\":{},\"MaxUnavailable\":{},\"UnhealthyPodEvictionPolicy\":{}}}",
            spec["minAvailable"], spec["selector"], spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]
        );
        errors.shown(ErrorType::Invalid, &path, &shown, "minAvailable and maxUnavailable cannot be both set");
    }
    for field in ["minAvailable", "maxUnavailable"].into_iter().filter(|field| spec.has(field)) {
        count_or_percent(&spec[field], &path.child(field), errors);
        at_most_all(&spec[field], &path.child(field), errors);
    }
    label_selector(&spec["selector"], allow_bad_values, &path.child("selector"), errors);
    let at = path.child("unhealthyPodEvictionPolicy");
    optional_one_of(&spec["unhealthyPodEvictionPolicy"], &["AlwaysAllow", "IfHealthyBudget"], &at, errors);
}
