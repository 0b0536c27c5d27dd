//! ResourceQuotas.

use std::collections::BTreeSet;

use serde_json::Value;

use super::prelude::*;
use super::resources::{is_standard_quota, resource_amount, resource_name};
use crate::object_meta;
use crate::resource_list::ResourceList;

/// Scopes that are there or not, and have no values.
const PLAIN: [&str; 5] = ["BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity"];
const PODS: [&str; 7] = ["pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
const CONFLICTS: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];

pub(crate) fn quota(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, object_meta::subdomain_rule, errors);
    spec(obj.at("spec"), errors);
    status(obj.at("status"), errors);
}

pub(crate) fn update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    spec(obj.at("spec"), errors);
    let scopes = |quota| texts(quota, "spec.scopes").collect::<BTreeSet<_>>();
    if scopes(obj) != scopes(old) {
        errors.invalid(&Path::new("spec.scopes"), obj.at("spec.scopes").clone(), IMMUTABLE);
    }
}

pub(crate) fn status_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    status(obj.at("status"), errors);
}

/// Requests that may exceed their limits (`WarningsOnCreate` in `pkg/registry/core/resourcequota`).
pub(crate) fn warnings(obj: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some() {
        return Vec::new();
    }
    let hard = ResourceList::read(obj.at("spec.hard"));
    let warning = |name: &str| {
        let (request, limit) = (format!("requests.{name}"), format!("limits.{name}"));
        let bare = || hard.get(name).filter(|_| matches!(name, "cpu" | "memory")).map(|amount| (name, amount));
        let (request, amount) = hard.get(&request).map(|amount| (&*request, amount)).or_else(bare)?;
        let most = hard.get(&limit).filter(|most| amount > most)?;
        Some(format!("ResourceQuota {request} ({amount}) should be less than {limit} ({most})"))
    };
    ["cpu", "memory", "storage", "ephemeral-storage"].into_iter().filter_map(warning).collect()
}

fn status(status: &Value, errors: &mut ErrorList) {
    for field in ["hard", "used"] {
        amounts(status.at(field), &Path::new("status").child(field), errors);
    }
}

fn spec(spec: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec");
    amounts(spec.at("hard"), &path.child("hard"), errors);
    let hard: Vec<&str> = spec.map("hard").keys().map(String::as_str).collect();
    scopes(spec, &hard, &path.child("scopes"), errors);
    selector(spec, &hard, &path.child("scopeSelector.matchExpressions"), errors);
}

fn amounts(list: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for (name, amount) in ResourceList::read(list).iter() {
        let path = path.key(name);
        resource_name(name, &path, errors);
        if !name.contains('/') && !is_standard_quota(name) {
            errors.invalid(&path, name, "must be a standard resource for quota");
        }
        resource_amount(name, amount, &path, errors);
    }
}

fn is_scope(name: &str) -> bool {
    PLAIN.contains(&name) || matches!(name, "PriorityClass" | "VolumeAttributesClass")
}

/// Resources with a limit that the scope says nothing about; one that nobody knows says nothing of any.
fn beyond<'a>(scope: &str, hard: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let about = match scope {
        "BestEffort" => &PODS[..1],
        "VolumeAttributesClass" => &["persistentvolumeclaims", "requests.storage"],
        known if is_scope(known) => &PODS,
        _ => hard,
    };
    hard.iter().copied().filter(move |name| is_standard_quota(name) && !about.contains(name))
}

fn scopes(spec: &Value, hard: &[&str], path: &Path<'_>, errors: &mut ErrorList) {
    let list = || spec.at("scopes").clone();
    let all: Vec<&str> = texts(spec, "scopes").collect();
    for scope in &all {
        if !is_scope(scope) {
            errors.invalid(path, list(), "unsupported scope");
        }
        for _ in beyond(scope, hard) {
            errors.invalid(path, list(), "unsupported scope applied to resource");
        }
    }
    conflicts(&all, spec, path, errors);
}

fn conflicts(all: &[&str], spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for _ in CONFLICTS.iter().filter(|pair| pair.iter().all(|scope| all.contains(scope))) {
        errors.invalid(path, spec.at("scopes").clone(), "conflicting scopes");
    }
}

fn selector(spec: &Value, hard: &[&str], path: &Path<'_>, errors: &mut ErrorList) {
    let expressions = spec.list("scopeSelector.matchExpressions");
    for expression in expressions {
        let scope = expression.text("scopeName");
        if !is_scope(scope) {
            errors.invalid(&path.child("scopeName"), scope, "unsupported scope");
        }
        for _ in beyond(scope, hard) {
            let (shown, why) = (internal(expressions), "unsupported scope applied to resource");
            errors.shown(ErrorType::Invalid, path, &shown, why);
        }
        operator(expression, path, errors);
    }
    let all: Vec<&str> = expressions.iter().map(|expression| expression.text("scopeName")).collect();
    conflicts(&all, spec, path, errors);
}

/// A selector as upstream prints its internal type.
fn internal(expressions: &[Value]) -> String {
    let one = |e: &Value| {
        let (scope, operator, values) = (&e["scopeName"], &e["operator"], &e["values"]);
        format!(r#"{{"ScopeName":{scope},"Operator":{operator},"Values":{values}}}"#)
    };
    let all: Vec<String> = expressions.iter().map(one).collect();
    format!(r#"{{"MatchExpressions":[{}]}}"#, all.join(","))
}

fn operator(expression: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (operator, values) = (expression.text("operator"), expression.list("values"));
    if PLAIN.contains(&expression.text("scopeName")) && operator != "Exists" {
        let why = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, \
                   ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                   ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.invalid(&path.child("operator"), operator, why);
    }
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.required(&path.child("values"), why);
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.invalid(&path.child("values"), values.to_vec(), why);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
}
