//! Ingresses and NetworkPolicies.

use serde_json::Value;

use super::network::{legacy_cidr, legacy_ip, network_of, parse_cidr_sloppy, parse_ip_sloppy};
use super::prelude::*;
use super::selector::label_selector;
use crate::kinds::read::annotation;
use crate::names;
use crate::object_meta::{label_rule, subdomain_rule};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// What a changed Ingress may keep.
#[derive(Clone, Copy, Default)]
struct IngressOptions {
    allow_bad_secret: bool,
    allow_bad_wildcard_rule: bool,
}

pub(crate) fn ingress(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    ingress_spec(&obj["spec"], IngressOptions::default(), errors);
    let (class, old_class) = (obj.at("spec.ingressClassName"), annotation(obj, CLASS_ANNOTATION));
    let annotated = obj.map("metadata.annotations").contains_key(CLASS_ANNOTATION);
    if annotated && class.as_str().is_some_and(|class| class != old_class) {
        let path = Path::new("annotations");
        let detail = "must match `ingressClassName` when both are specified";
        errors.invalid(&path.child(CLASS_ANNOTATION), old_class, detail);
    }
}

pub(crate) fn ingress_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    metadata(obj, true, subdomain_rule, errors);
    let has_bad_wildcard = old.list("spec.rules").iter().any(|rule| {
        let mut found = ErrorList::default();
        if rule.text("host").contains('*') {
            rule_paths(rule, &Path::default(), &mut found);
        }
        !found.is_empty()
    });
    let options = IngressOptions {
        allow_bad_secret: old.list("spec.tls").iter().any(|tls| !secret_problems(tls).is_empty()),
        allow_bad_wildcard_rule: has_bad_wildcard,
    };
    ingress_spec(&obj["spec"], options, errors);
}

fn secret_problems(tls: &Value) -> Vec<String> {
    match tls.text("secretName") {
        "" => Vec::new(),
        name => subdomain_rule(name, false),
    }
}

fn ingress_spec(spec: &Value, options: IngressOptions, errors: &mut ErrorList) {
    let path = Path::new("spec");
    if spec.list("rules").is_empty() && !spec.has("defaultBackend") {
        let rules = if spec["rules"].is_array() { "[]" } else { "null" };
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.shown(ErrorType::Invalid, &path, rules, detail);
    }
    if spec.has("defaultBackend") {
        backend(&spec["defaultBackend"], &path.child("defaultBackend"), errors);
    }
    let at = path.child("rules");
    for (i, rule) in spec.list("rules").iter().enumerate() {
        let (at, host) = (at.index(i), rule.text("host"));
        host_name(host, &at.child("host"), errors);
        if !(host.contains('*') && options.allow_bad_wildcard_rule) {
            rule_paths(rule, &at, errors);
        }
    }
    let at = path.child("tls");
    for (i, tls) in spec.list("tls").iter().enumerate() {
        let at = at.index(i);
        let hosts = at.child("hosts");
        for (i, host) in texts(tls, "hosts").enumerate() {
            let rule = if host.contains('*') { names::wildcard_dns1123_subdomain } else { names::dns1123_subdomain };
            errors.each_invalid(&hosts.index(i), host, rule(host));
        }
        if !options.allow_bad_secret {
            errors.each_invalid(&at.child("secretName"), tls.text("secretName"), secret_problems(tls));
        }
    }
    if let Some(class) = spec["ingressClassName"].as_str() {
        errors.each_invalid(&path.child("ingressClassName"), class, subdomain_rule(class, false));
    }
}

fn host_name(host: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if host.is_empty() {
        return;
    }
    if parse_ip_sloppy(host).is_some() {
        errors.invalid(path, host, "must be a DNS name, not an IP address");
    }
    let rule = if host.contains('*') { names::wildcard_dns1123_subdomain } else { names::dns1123_subdomain };
    errors.each_invalid(path, host, rule(host));
}

fn rule_paths(rule: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if !rule.has("http") {
        return;
    }
    let path = path.child("http.paths");
    let paths = rule.list("http.paths");
    if paths.is_empty() {
        errors.required(&path, "");
    }
    for (i, value) in paths.iter().enumerate() {
        http_path(value, &path.index(i), errors);
    }
}

fn http_path(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if !value.has("pathType") {
        return errors.required(&path.child("pathType"), "pathType must be specified");
    }
    let (text, at) = (value.text("path"), path.child("path"));
    match value.text("pathType") {
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                errors.invalid(&at, text, "must be an absolute path");
            }
            for bad in ["//", "/./", "/../", "%2f", "%2F"].into_iter().filter(|bad| text.contains(bad)) {
                errors.invalid(&at, text, format!("must not contain '{bad}'"));
            }
            for bad in ["/..", "/."].into_iter().filter(|bad| text.ends_with(bad)) {
                errors.invalid(&at, text, format!("cannot end with '{bad}'"));
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.invalid(&at, text, "must be an absolute path");
            }
        }
        other => {
            let types = ["Exact", "ImplementationSpecific", "Prefix"];
            errors.not_supported(&path.child("pathType"), other, &types);
        }
    }
    backend(&value["backend"], &path.child("backend"), errors);
}

fn backend(backend: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match (backend.has("resource"), backend.has("service")) {
        (true, true) => errors.invalid(path, "", "cannot set both resource and service backends"),
        (true, false) => reference(&backend["resource"], &path.child("resource"), errors),
        (false, true) => service_backend(&backend["service"], path, errors),
        (false, false) => errors.invalid(path, "", "resource or service backend is required"),
    }
}

/// A reference to an object of any kind.
fn reference(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(group) = value["apiGroup"].as_str() {
        dns1123_subdomain(group, &path.child("apiGroup"), errors);
    }
    for field in ["kind", "name"] {
        match value.text(field) {
            "" => errors.required(&path.child(field), ""),
            text => errors.each_invalid(&path.child(field), text, names::path_segment(text)),
        }
    }
}

/// `path` is the backend's, at which upstream reports faults of the port.
fn service_backend(service: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match service.text("name") {
        "" => errors.required(&path.child("service.name"), ""),
        name => errors.each_invalid(&path.child("service.name"), name, label_rule(name, false)),
    }
    let (name, number) = (service.text("port.name"), service.int("port.number"));
    match (name.is_empty(), number == 0) {
        (false, false) => errors.invalid(path, "", "cannot set both port name & port number"),
        (false, true) => errors.each_invalid(&path.child("service.port.name"), name, names::port_name(name)),
        (true, false) => in_range(number, 1, 65535, &path.child("service.port.number"), errors),
        (true, true) => errors.required(path, "port name or number is required"),
    }
}

pub(crate) fn ingress_status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let existing: Vec<Value> =
        old.list("status.loadBalancer.ingress").iter().map(|point| point["ip"].clone()).collect();
    let path = Path::new("status.loadBalancer.ingress");
    for (i, point) in obj.list("status.loadBalancer.ingress").iter().enumerate() {
        let (path, ip, host) = (path.index(i), point.text("ip"), point.text("hostname"));
        if !ip.is_empty() {
            legacy_ip(ip, &existing, &path.child("ip"), errors);
        }
        if !host.is_empty() {
            let at = path.child("hostname");
            dns1123_subdomain(host, &at, errors);
            if parse_ip_sloppy(host).is_some() {
                errors.invalid(&at, host, "must be a DNS name, not an IP address");
            }
        }
    }
}

/// Room for a domain and a path.
const MAX_CONTROLLER_LENGTH: usize = 250;

pub(crate) fn ingress_class(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    let at = path.child("controller");
    if spec.text("controller").len() > MAX_CONTROLLER_LENGTH {
        errors.too_long(&at, MAX_CONTROLLER_LENGTH);
    }
    domain_path(spec.text("controller"), &at, errors);
    let parameters = &spec["parameters"];
    if parameters.is_null() {
        return;
    }
    let path = path.child("parameters");
    let at = path.child("namespace");
    match (parameters["scope"].as_str(), parameters["namespace"].as_str()) {
        (None, _) => errors.required(&path.child("scope"), ""),
        (Some("Namespace"), None) => errors.required(&at, "`parameters.scope` is set to 'Namespace'"),
        (Some("Namespace"), Some(name)) => errors.each_invalid(&at, name, label_rule(name, false)),
        (Some("Cluster"), None) => {}
        (Some("Cluster"), Some(_)) => errors.forbidden(&at, "`parameters.scope` is set to 'Cluster'"),
        (Some(other), _) => errors.not_supported(&path.child("scope"), other, &["Cluster", "Namespace"]),
    }
    reference(parameters, &path, errors);
}

pub(crate) fn ingress_class_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    immutable_text(obj.at("spec.controller"), old.at("spec.controller"), &Path::new("spec.controller"), errors);
    ingress_class(obj, errors);
}

pub(crate) fn network_policy(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    policy_spec(obj, &Value::Null, errors);
    declared_blocks(&obj["spec"], errors);
}

pub(crate) fn network_policy_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    policy_spec(obj, old, errors);
    declared_blocks(&obj["spec"], errors);
}

/// What was so before and may stay.
struct Before {
    bad_selector: bool,
    networks: Vec<Value>,
}

impl Before {
    fn of(old: &Value) -> Self {
        let mut errors = ErrorList::default();
        label_selector(old.at("spec.podSelector"), false, &Path::default(), &mut errors);
        let peers = |field: &str, peers: &str| -> Vec<Value> {
            old.list(field).iter().flat_map(|rule| rule.list(peers).to_vec()).collect()
        };
        let peers = [peers("spec.ingress", "from"), peers("spec.egress", "to")].concat();
        let blocks = peers.iter().map(|peer| &peer["ipBlock"]);
        let networks =
            blocks.flat_map(|block| [vec![block["cidr"].clone()], block.list("except").to_vec()].concat()).collect();
        Self { bad_selector: !errors.is_empty(), networks }
    }
}

fn policy_spec(obj: &Value, old: &Value, errors: &mut ErrorList) {
    let (spec, path, before) = (&obj["spec"], Path::new("spec"), Before::of(old));
    label_selector(&spec["podSelector"], before.bad_selector, &path.child("podSelector"), errors);
    for (field, peers) in [("ingress", "from"), ("egress", "to")] {
        let path = path.child(field);
        for (i, rule) in spec.list(field).iter().enumerate() {
            let path = path.index(i);
            let at = path.child("ports");
            for (i, port) in rule.list("ports").iter().enumerate() {
                policy_port(port, &at.index(i), errors);
            }
            let at = path.child(peers);
            for (i, peer) in rule.list(peers).iter().enumerate() {
                policy_peer(peer, &before, &at.index(i), errors);
            }
        }
    }
    let (types, at) = (spec.list("policyTypes"), path.child("policyTypes"));
    if types.len() > 2 {
        return errors.invalid(&at, types.to_vec(), "may not specify more than two policyTypes");
    }
    for (i, ty) in texts(spec, "policyTypes").enumerate() {
        one_of(ty, &["Ingress", "Egress"], &at.index(i), errors);
    }
}

fn policy_port(port: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    optional_one_of(&port["protocol"], &["TCP", "UDP", "SCTP"], &path.child("protocol"), errors);
    let (at, end_at, end) = (path.child("port"), path.child("endPort"), port["endPort"].as_i64());
    match (&port["port"], end) {
        (Value::Null, Some(end)) => {
            errors.invalid(&end_at, end, "may not be specified when `port` is not specified");
        }
        (Value::Null, None) => {}
        (Value::String(name), _) => {
            if let Some(end) = end {
                errors.invalid(&end_at, end, "may not be specified when `port` is non-numeric");
            }
            errors.each_invalid(&at, name, names::port_name(name));
        }
        (number, _) => {
            let number = number.as_i64().unwrap_or_default();
            in_range(number, 1, 65535, &at, errors);
            if let Some(end) = end {
                if end < number {
                    errors.invalid(&end_at, end, "must be greater than or equal to `port`");
                }
                in_range(end, 1, 65535, &end_at, errors);
            }
        }
    }
}

fn policy_peer(peer: &Value, before: &Before, path: &Path<'_>, errors: &mut ErrorList) {
    let selectors = ["podSelector", "namespaceSelector"];
    for field in selectors {
        label_selector(&peer[field], before.bad_selector, &path.child(field), errors);
    }
    let selected = selectors.iter().any(|field| peer.has(field));
    if peer.has("ipBlock") {
        ip_block(&peer["ipBlock"], before, &path.child("ipBlock"), errors);
        if selected {
            errors.forbidden(path, "may not specify both ipBlock and another peer");
        }
    } else if !selected {
        errors.required(path, "must specify a peer");
    }
}

/// Declared, so upstream reports it last.
fn declared_blocks(spec: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec");
    for (field, peers) in [("ingress", "from"), ("egress", "to")] {
        let path = path.child(field);
        for (i, rule) in spec.list(field).iter().enumerate() {
            let (path, peers) = (path.index(i), (peers, rule.list(peers)));
            let at = path.child(peers.0);
            for (i, peer) in peers.1.iter().enumerate().filter(|(_, peer)| peer.has("ipBlock")) {
                if peer.text("ipBlock.cidr").is_empty() {
                    errors.required(&at.index(i).child("ipBlock.cidr"), "");
                }
            }
        }
    }
}

fn ip_block(block: &Value, before: &Before, path: &Path<'_>, errors: &mut ErrorList) {
    let cidr = block.text("cidr");
    if cidr.is_empty() {
        return;
    }
    legacy_cidr(cidr, &before.networks, &path.child("cidr"), errors);
    let Some((outer, outer_bits)) = parse_cidr_sloppy(cidr) else { return };
    let at = path.child("except");
    for (i, except) in texts(block, "except").enumerate() {
        legacy_cidr(except, &before.networks, &at.index(i), errors);
        let Some((inner, inner_bits)) = parse_cidr_sloppy(except) else { continue };
        let within = outer.is_ipv4() == inner.is_ipv4()
            && outer_bits < inner_bits
            && network_of(inner, outer_bits) == network_of(outer, outer_bits);
        if !within {
            errors.invalid(&at.index(i), except, "must be a strict subset of `cidr`");
        }
    }
}
