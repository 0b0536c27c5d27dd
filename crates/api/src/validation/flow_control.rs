//! FlowSchemas and PriorityLevelConfigurations.

use std::collections::BTreeSet;

use serde_json::Value;

use super::prelude::*;
use crate::equality::same;
use crate::kinds::flowcontrol::mandatory;
use crate::object_meta::{label_rule, subdomain_rule};

const MAX_PRECEDENCE: i64 = 10_000;

pub(crate) fn schema(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    precedence(spec.int("matchingPrecedence"), crate::meta::name(obj), &path.child("matchingPrecedence"), errors);
    if spec.has("distinguisherMethod") {
        let at = path.child("distinguisherMethod.type");
        one_of(spec.text("distinguisherMethod.type"), &["ByNamespace", "ByUser"], &at, errors);
    }
    let at = path.child("priorityLevelConfiguration.name");
    match spec.text("priorityLevelConfiguration.name") {
        "" => errors.required(&at, "must reference a priority level"),
        name => errors.each_invalid(&at, name, subdomain_rule(name, false)),
    }
    let path = path.child("rules");
    for (i, rule) in spec.list("rules").iter().enumerate() {
        rule_with_subjects(rule, &path.index(i), errors);
    }
    let name = crate::meta::name(obj);
    if mandatory::schema(name).is_some_and(|fixed| !same(spec, &fixed)) {
        errors.invalid(&Path::new("spec"), spec.clone(), format!("spec of '{name}' must equal the fixed value"));
    }
    conditions(obj, errors);
}

pub(crate) fn schema_update(obj: &Value, _: &Value, errors: &mut ErrorList) {
    schema(obj, errors);
}

pub(crate) fn status(obj: &Value, _: &Value, errors: &mut ErrorList) {
    conditions(obj, errors);
}

fn conditions(obj: &Value, errors: &mut ErrorList) {
    let (path, mut taken) = (Path::new("status.conditions"), BTreeSet::new());
    for (i, condition) in obj.list("status.conditions").iter().enumerate() {
        let (path, ty) = (path.index(i), condition.text("type"));
        if !taken.insert(ty) {
            errors.duplicate(&path.child("type"), ty);
        }
        required(condition, "type", &path, errors);
    }
}

fn precedence(value: i64, name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if value <= 0 {
        errors.invalid(path, value, "must be a positive value");
    }
    if value > MAX_PRECEDENCE {
        errors.invalid(path, value, format!("must not be greater than {MAX_PRECEDENCE}"));
    }
    if value == 1 && name != "exempt" {
        errors.invalid(path, value, "only the schema named 'exempt' may have matchingPrecedence 1");
    }
}

fn rule_with_subjects(rule: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let subjects = path.child("subjects");
    if rule.list("subjects").is_empty() {
        errors.required(&subjects, "subjects must contain at least one value");
    }
    for (i, value) in rule.list("subjects").iter().enumerate() {
        subject(value, &subjects.index(i), errors);
    }
    if rule.list("resourceRules").is_empty() && rule.list("nonResourceRules").is_empty() {
        errors.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    let at = path.child("resourceRules");
    for (i, rule) in rule.list("resourceRules").iter().enumerate() {
        resource_rule(rule, &at.index(i), errors);
    }
    let at = path.child("nonResourceRules");
    for (i, rule) in rule.list("nonResourceRules").iter().enumerate() {
        path_rule(rule, &at.index(i), errors);
    }
}

/// The field of each kind of subject, in the order in which upstream looks for those that must not be.
const SUBJECTS: [(&str, &str); 3] = [("serviceAccount", "ServiceAccount"), ("user", "User"), ("group", "Group")];

fn subject(subject: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let kind = subject.text("kind");
    let Some((own, _)) = SUBJECTS.iter().find(|(_, of)| *of == kind) else {
        return one_of(kind, &["Group", "ServiceAccount", "User"], &path.child("kind"), errors);
    };
    let (value, at) = (&subject[*own], path.child(own));
    if value.is_null() {
        errors.required(&at, format!("{own} is required when subject kind is '{kind}'"));
    } else {
        required(value, "name", &at, errors);
        if *own == "serviceAccount" {
            account(value, &at, errors);
        }
    }
    for (other, of) in SUBJECTS.iter().filter(|(other, _)| other != own && subject.has(other)) {
        errors.forbidden(&path.child(other), format!("{other} is forbidden when subject kind is not '{of}'"));
    }
}

fn account(account: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let name = account.text("name");
    if !matches!(name, "" | "*") {
        errors.each_invalid(&path.child("name"), name, subdomain_rule(name, false));
    }
    match account.text("namespace") {
        "" => errors.required(&path.child("namespace"), "must specify namespace for service account"),
        namespace => errors.each_invalid(&path.child("namespace"), namespace, label_rule(namespace, false)),
    }
}

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

fn has_wildcard(rule: &Value, field: &str) -> bool {
    texts(rule, field).any(|text| text == "*")
}

/// A wildcard must stand alone.
fn lone_wildcard(rule: &Value, field: &str, others: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if has_wildcard(rule, field) && rule.list(field).len() > 1 {
        let detail = format!("if '*' is present, must not specify other {others}");
        errors.invalid(&path.child(field), rule[field].clone(), detail);
    }
}

fn verbs(rule: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if rule.list("verbs").is_empty() {
        return errors.required(&path.child("verbs"), "verbs must contain at least one value");
    }
    lone_wildcard(rule, "verbs", "verbs", path, errors);
    if !has_wildcard(rule, "verbs") && !texts(rule, "verbs").all(|verb| VERBS.contains(&verb)) {
        errors.not_supported(&path.child("verbs"), rule["verbs"].clone(), VERBS);
    }
}

fn resource_rule(rule: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    verbs(rule, path, errors);
    for (field, one, others) in [("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")] {
        if rule.list(field).is_empty() {
            errors.required(&path.child(field), format!("resource rules must supply at least one {one}"));
        }
        lone_wildcard(rule, field, others, path, errors);
    }
    let at = path.child("namespaces");
    if rule.list("namespaces").is_empty() && !rule.flag("clusterScope") {
        let detail = "resource rules that are not cluster scoped must supply at least one namespace";
        return errors.required(&at, detail);
    }
    lone_wildcard(rule, "namespaces", "namespaces", path, errors);
    if has_wildcard(rule, "namespaces") {
        return;
    }
    for (i, namespace) in texts(rule, "namespaces").enumerate() {
        for why in label_rule(namespace, false) {
            let detail = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
            errors.invalid(&at.index(i), namespace, detail);
        }
    }
}

fn path_rule(rule: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    verbs(rule, path, errors);
    let at = path.child("nonResourceURLs");
    if rule.list("nonResourceURLs").is_empty() {
        return errors.required(&at, "nonResourceURLs must contain at least one value");
    }
    lone_wildcard(rule, "nonResourceURLs", "non-resource URLs", path, errors);
    if has_wildcard(rule, "nonResourceURLs") {
        return;
    }
    for (i, url) in texts(rule, "nonResourceURLs").enumerate() {
        if let Some(why) = url_problem(url) {
            errors.invalid(&at.index(i), url, why);
        }
    }
}

fn url_problem(url: &str) -> Option<&'static str> {
    let stars = url.matches('*').count();
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if stars > 1 || stars == 1 && !url.ends_with("/*") => Some("wildcard can only do suffix matching"),
        _ => None,
    }
}

/// What an object of the long gone v1beta3 carried.
const OLD_ANNOTATION: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";

pub(crate) fn level(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    if obj.map("metadata.annotations").contains_key(OLD_ANNOTATION) {
        errors.forbidden(&Path::new("metadata.annotations"), format!("annotation '{OLD_ANNOTATION}' is forbidden"));
    }
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    let ty = spec.text("type");
    if (crate::meta::name(obj) == "exempt") != (ty == "Exempt") {
        errors.invalid(&path.child("type"), ty, "must be 'Exempt' if and only if `name` is 'exempt'");
    }
    match ty {
        "Exempt" => shares(&spec["exempt"], &path.child("exempt"), errors),
        "Limited" if spec.has("limited") => limited(&spec["limited"], &path.child("limited"), errors),
        "" | "Limited" => {}
        _ => one_of(ty, &["Exempt", "Limited"], &path.child("type"), errors),
    }
    fixed_level(crate::meta::name(obj), spec, &path, errors);
    conditions(obj, errors);
    declared(spec, &path, errors);
}

/// Of the exempt level its shares are free.
fn fixed_level(name: &str, spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(mut fixed) = mandatory::level(name) else { return };
    let but = if name == "exempt" {
        fixed["exempt"] = spec["exempt"].clone();
        " except the 'spec.exempt' field"
    } else {
        ""
    };
    if !same(spec, &fixed) {
        errors.invalid(path, spec.clone(), format!("spec of '{name}'{but} must equal the fixed value"));
    }
}

pub(crate) fn level_update(obj: &Value, _: &Value, errors: &mut ErrorList) {
    level(obj, errors);
}

fn shares(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(shares) = value["nominalConcurrencyShares"].as_i64().filter(|shares| *shares < 0) {
        errors.invalid(&path.child("nominalConcurrencyShares"), shares, "must be a non-negative integer");
    }
    if let Some(percent) = value["lendablePercent"].as_i64() {
        in_range(percent, 0, 100, &path.child("lendablePercent"), errors);
    }
}

fn limited(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut about_shares = ErrorList::default();
    shares(value, path, &mut about_shares);
    let lendable = about_shares.0.iter().position(|error| error.field.ends_with("lendablePercent"));
    let lendable = lendable.map(|at| about_shares.0.remove(at));
    errors.extend(about_shares);
    response(&value["limitResponse"], &path.child("limitResponse"), errors);
    errors.0.extend(lendable);
    if let Some(percent) = value["borrowingLimitPercent"].as_i64().filter(|percent| *percent < 0) {
        let at = path.child("borrowingLimitPercent");
        errors.invalid(&at, percent, "if specified, must be a non-negative integer");
    }
}

fn response(response: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match response.text("type") {
        "Queue" if response.has("queuing") => queuing(&response["queuing"], &path.child("queuing"), errors),
        "" | "Queue" | "Reject" => {}
        other => one_of(other, &["Queue", "Reject"], &path.child("type"), errors),
    }
}

const MAX_QUEUES: i64 = 10_000_000;
/// How much of a hash shuffle sharding may use up.
const MAX_HASH_BITS: i64 = 60;

fn queuing(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (queues, hand) = (value.int("queues"), value.int("handSize"));
    for field in ["queueLengthLimit", "queues", "handSize"] {
        if value.int(field) <= 0 {
            errors.invalid(&path.child(field), value.int(field), "must be positive");
        }
        if field == "queues" && queues > MAX_QUEUES {
            errors.invalid(&path.child(field), queues, format!("must not be greater than {MAX_QUEUES}"));
        }
    }
    if hand <= 0 {
        return;
    }
    let at = path.child("handSize");
    if hand > queues {
        return errors.invalid(&at, hand, format!("should not be greater than queues ({queues})"));
    }
    let bits = ((queues as f64).log2() * hand as f64).ceil() as i64;
    if bits > MAX_HASH_BITS {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MAX_HASH_BITS}"
        );
        errors.invalid(&at, hand, detail);
    }
}

/// Declared, so upstream reports these last.
fn declared(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let ty = spec.text("type");
    if ty != "Exempt" && spec.has("exempt") {
        errors.forbidden(&path.child("exempt"), "");
    }
    match (ty == "Limited", spec.has("limited")) {
        (true, false) => errors.required(&path.child("limited"), ""),
        (false, true) => errors.forbidden(&path.child("limited"), ""),
        _ => {}
    }
    required(spec, "type", path, errors);
    if ty != "Limited" || !spec.has("limited") {
        return;
    }
    let (response, path) = (spec.at("limited.limitResponse"), path.child("limited.limitResponse"));
    match (response.text("type") == "Queue", response.has("queuing")) {
        (true, false) => errors.required(&path.child("queuing"), ""),
        (false, true) => errors.forbidden(&path.child("queuing"), ""),
        _ => {}
    }
    required(response, "type", &path, errors);
}
