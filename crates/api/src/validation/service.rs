//! Services.

use std::collections::BTreeSet;

use serde_json::Value;

use super::containers::PROTOCOLS;
use super::endpoints::reachable_ip;
use super::network::{cidr_warnings, ip_warning, legacy_cidr, legacy_ip, parse_ip_sloppy};
use super::prelude::*;
use super::service_ips;
use crate::kinds::read::annotation;
use crate::object_meta::{check_labels, label_rule};

pub(crate) fn service(obj: &Value, errors: &mut ErrorList) {
    // A Service's name may start with a digit since KEP 5311.
    metadata(obj, true, label_rule, errors);
    service_spec(obj, &Value::Null, errors);
}

pub(crate) fn update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    service_ips::changes(obj, old, errors);
    load_balancer_class(obj, old, errors);
    if needs_health_check(old) && needs_health_check(obj) {
        let path = Path::new("spec.healthCheckNodePort");
        if obj.int("spec.healthCheckNodePort") != old.int("spec.healthCheckNodePort") {
            errors.forbidden(&path, IMMUTABLE);
        }
    }
    service_spec(obj, old, errors);
}

pub(crate) fn is_headless(obj: &Value) -> bool {
    matches!(obj.list("spec.clusterIPs"), [ip] if ip == "None")
}

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";

fn service_spec(obj: &Value, old: &Value, errors: &mut ErrorList) {
    let annotations = obj.map("metadata.annotations");
    if let (Some(mode), Some(hints)) = (annotations.get(MODE), annotations.get(HINTS))
        && mode != hints
    {
        let path = Path::new("metadata.annotations");
        let detail = format!("must match annotations[{HINTS}] when both are specified");
        errors.invalid(&path.key(MODE), annotation(obj, MODE), detail);
    }
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    let ports_path = path.child("ports");
    if spec.list("ports").is_empty() && !is_headless(obj) && spec.text("type") != "ExternalName" {
        errors.required(&ports_path, "");
    }
    by_type(obj, &path, errors);
    ports(spec, &ports_path, errors);
    check_labels(&spec["selector"], &path.child("selector"), errors);
    session_affinity(spec, &path, errors);
    service_ips::fields(obj, old, errors);
    let at = path.child("externalIPs");
    for (i, ip) in texts(spec, "externalIPs").enumerate() {
        let before = errors.0.len();
        legacy_ip(ip, old.list("spec.externalIPs"), &at.index(i), errors);
        if errors.0.len() == before {
            reachable_ip(ip, &at.index(i), errors);
        }
    }
    match spec.text("type") {
        "" => errors.required(&path.child("type"), ""),
        ty => one_of(ty, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], &path.child("type"), errors),
    }
    node_ports(spec, &ports_path, errors);
    load_balancer(obj, old, &path, errors);
    load_balancer_class(obj, &Value::Null, errors);
    traffic(obj, &path, errors);
}

fn by_type(obj: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let spec = &obj["spec"];
    match spec.text("type") {
        ty @ ("LoadBalancer" | "NodePort") if is_headless(obj) => {
            let detail = format!("may not be set to 'None' for {ty} services");
            errors.invalid(&path.child("clusterIPs").index(0), "None", detail);
        }
        "ExternalName" => {
            let detail = "may not be set for ExternalName services";
            for field in ["clusterIPs", "ipFamilies"].into_iter().filter(|field| !spec.list(field).is_empty()) {
                errors.forbidden(&path.child(field), detail);
            }
            if spec.has("ipFamilyPolicy") {
                errors.forbidden(&path.child("ipFamilyPolicy"), detail);
            }
            let name = spec.text("externalName");
            match name.strip_suffix('.').unwrap_or(name) {
                "" => errors.required(&path.child("externalName"), ""),
                name => dns1123_subdomain(name, &path.child("externalName"), errors),
            }
        }
        _ => {}
    }
}

fn ports(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut taken = BTreeSet::new();
    let ports = spec.list("ports");
    for (i, value) in ports.iter().enumerate() {
        let path = path.index(i);
        let (name, at) = (value.text("name"), path.child("name"));
        if !name.is_empty() {
            dns1123_label(name, &at, errors);
            if !taken.insert(name) {
                errors.duplicate(&at, name);
            }
        } else if ports.len() > 1 {
            errors.required(&at, "");
        }
        in_range(value.int("port"), 1, 65535, &path.child("port"), errors);
        match value.text("protocol") {
            "" => errors.required(&path.child("protocol"), ""),
            protocol => one_of(protocol, PROTOCOLS, &path.child("protocol"), errors),
        }
        port(&value["targetPort"], &path.child("targetPort"), errors);
        if let Some(protocol) = value["appProtocol"].as_str() {
            qualified_name(protocol, &path.child("appProtocol"), errors);
        }
    }
}

fn node_ports(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let ports = spec.list("ports");
    let with_node_port = || ports.iter().enumerate().filter(|(_, port)| port.int("nodePort") != 0);
    if spec.text("type") == "ClusterIP" {
        for (i, _) in with_node_port() {
            errors.forbidden(&path.index(i).child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    let mut taken = BTreeSet::new();
    for (i, port) in with_node_port() {
        if !taken.insert((port.text("protocol"), port.int("nodePort"))) {
            errors.duplicate(&path.index(i).child("nodePort"), port.int("nodePort"));
        }
    }
    let mut taken = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let key = (port.text("protocol"), port.int("port"));
        if !taken.insert(key) {
            // The key as upstream's internal type prints it.
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":\"{}\",\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
                key.0, key.1
            );
            errors.shown(ErrorType::Duplicate, &path.index(i), &shown, "");
        }
    }
}

/// A day.
const MAX_AFFINITY_SECONDS: i64 = 86_400;

fn session_affinity(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (config, at) = (&spec["sessionAffinityConfig"], path.child("sessionAffinityConfig"));
    match spec.text("sessionAffinity") {
        "" => errors.required(&path.child("sessionAffinity"), ""),
        "ClientIP" => {
            let seconds_at = at.child("clientIP.timeoutSeconds");
            let missing = if config.is_null() {
                Some(at)
            } else if !config.has("clientIP") {
                Some(at.child("clientIP"))
            } else {
                (!config.has("clientIP.timeoutSeconds")).then_some(seconds_at)
            };
            if let Some(at) = missing {
                return errors.required(&at, "when session affinity type is ClientIP");
            }
            let seconds = config.int("clientIP.timeoutSeconds");
            if seconds <= 0 || seconds > MAX_AFFINITY_SECONDS {
                let detail = format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}");
                errors.invalid(&seconds_at, seconds, detail);
            }
        }
        "None" if config.is_null() => {}
        "None" => errors.forbidden(&at, "must not be set when session affinity is None"),
        other => errors.not_supported(&path.child("sessionAffinity"), other, &["ClientIP", "None"]),
    }
}

const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const ONLY_LOAD_BALANCER: &str = "may only be used when `type` is 'LoadBalancer'";

fn load_balancer(obj: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let spec = &obj["spec"];
    let is_load_balancer = spec.text("type") == "LoadBalancer";
    let annotations = obj.map("metadata.annotations");
    if !spec.list("loadBalancerSourceRanges").is_empty() {
        let at = path.child("LoadBalancerSourceRanges");
        if !is_load_balancer {
            errors.forbidden(&at, ONLY_LOAD_BALANCER);
        }
        for (i, range) in texts(spec, "loadBalancerSourceRanges").enumerate() {
            legacy_cidr(range.trim(), old.list("spec.loadBalancerSourceRanges"), &at.index(i), errors);
        }
    } else if annotations.contains_key(SOURCE_RANGES) {
        let at = Path::new("metadata.annotations");
        let at = at.key(SOURCE_RANGES);
        if !is_load_balancer {
            errors.forbidden(&at, ONLY_LOAD_BALANCER);
        }
        let text = annotation(obj, SOURCE_RANGES).trim();
        let kept = old.map("metadata.annotations").get(SOURCE_RANGES) == annotations.get(SOURCE_RANGES);
        if !kept && !text.is_empty() {
            text.split(',').for_each(|range| legacy_cidr(range.trim(), &[], &at, errors));
        }
    }
    let has_choice = spec.has("allocateLoadBalancerNodePorts");
    if has_choice && !is_load_balancer {
        errors.forbidden(&path.child("allocateLoadBalancerNodePorts"), ONLY_LOAD_BALANCER);
    }
    if !has_choice && is_load_balancer {
        errors.required(&Path::new("allocateLoadBalancerNodePorts"), "");
    }
}

fn load_balancer_class(obj: &Value, old: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec.loadBalancerClass");
    let class = obj.at("spec.loadBalancerClass");
    let is_load_balancer = obj.text("spec.type") == "LoadBalancer";
    if is_load_balancer && old.text("spec.type") == "LoadBalancer" && class != old.at("spec.loadBalancerClass") {
        errors.invalid(&path, class.clone(), "may not change once set");
    }
    match class.as_str() {
        Some(class) if is_load_balancer => qualified_name(class, &path, errors),
        Some(_) => errors.forbidden(&path, ONLY_LOAD_BALANCER),
        None => {}
    }
}

fn needs_health_check(obj: &Value) -> bool {
    obj.text("spec.type") == "LoadBalancer" && obj.text("spec.externalTrafficPolicy") == "Local"
}

fn traffic(obj: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let spec = &obj["spec"];
    let ty = spec.text("type");
    let is_external =
        matches!(ty, "LoadBalancer" | "NodePort") || ty == "ClusterIP" && !spec.list("externalIPs").is_empty();
    let at = path.child("externalTrafficPolicy");
    match spec.text("externalTrafficPolicy") {
        "" if is_external => errors.required(&at, ""),
        "" => {}
        policy if is_external => one_of(policy, &["Cluster", "Local"], &at, errors),
        policy => errors.invalid(&at, policy, "may only be set for externally-accessible services"),
    }
    let (at, port) = (path.child("healthCheckNodePort"), spec.int("healthCheckNodePort"));
    match (needs_health_check(obj), port) {
        (true, 0) => errors.required(&at, ""),
        (true, _) => in_range(port, 1, 65535, &at, errors),
        (false, 0) => {}
        (false, _) => {
            let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.invalid(&at, port, detail);
        }
    }
    let at = path.child("internalTrafficPolicy");
    if !spec.has("internalTrafficPolicy") && matches!(ty, "NodePort" | "LoadBalancer" | "ClusterIP") {
        errors.required(&at, "");
    }
    optional_one_of(&spec["internalTrafficPolicy"], &["Cluster", "Local"], &at, errors);
    let at = path.child("trafficDistribution");
    optional_one_of(&spec["trafficDistribution"], &["PreferClose", "PreferSameZone", "PreferSameNode"], &at, errors);
}

pub(crate) fn status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let allowed = obj.text("spec.type") == "LoadBalancer";
    let path = Path::new("status.loadBalancer.ingress");
    let ingress = obj.list("status.loadBalancer.ingress");
    if !allowed && !ingress.is_empty() {
        return errors.forbidden(&path, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    let existing: Vec<Value> =
        old.list("status.loadBalancer.ingress").iter().map(|ingress| ingress["ip"].clone()).collect();
    for (i, point) in ingress.iter().enumerate() {
        let path = path.index(i);
        let (ip, at) = (point.text("ip"), path.child("ipMode"));
        if !ip.is_empty() {
            legacy_ip(ip, &existing, &path.child("ip"), errors);
        }
        match (point.has("ipMode"), ip.is_empty()) {
            (false, false) => errors.required(&at, "must be specified when `ip` is set"),
            (true, true) => errors.forbidden(&at, "may not be specified when `ip` is not set"),
            _ => optional_one_of(&point["ipMode"], &["Proxy", "VIP"], &at, errors),
        }
        let (host, at) = (point.text("hostname"), path.child("hostname"));
        if !host.is_empty() {
            dns1123_subdomain(host, &at, errors);
            if parse_ip_sloppy(host).is_some() {
                errors.invalid(&at, host, "must be a DNS name, not an IP address");
            }
        }
    }
}

pub(crate) fn warnings(obj: &Value, _: Option<&Value>) -> Vec<String> {
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    let mut warnings = Vec::new();
    if obj.map("metadata.annotations").contains_key(HINTS) {
        warnings.push(format!("annotation {HINTS} is deprecated, please use {MODE} instead"));
    }
    let ip = spec.text("clusterIP");
    let each_ip = |field: &str, warnings: &mut Vec<String>| {
        let at = path.child(field);
        texts(spec, field).enumerate().for_each(|(i, ip)| ip_warning(ip, &at.index(i), warnings));
    };
    if !ip.is_empty() && ip != "None" {
        each_ip("clusterIPs", &mut warnings);
    }
    let ty = spec.text("type");
    let is_headless = ty == "ClusterIP" && ip == "None";
    let has_external_ips = !spec.list("externalIPs").is_empty();
    let mut warn = |broken: bool, text: String| {
        if broken {
            warnings.push(text);
        }
    };
    warn(
        is_headless && !spec.text("loadBalancerIP").is_empty(),
        "spec.loadBalancerIP is ignored for headless services".into(),
    );
    warn(is_headless && has_external_ips, "spec.externalIPs is ignored for headless services".into());
    warn(
        is_headless && spec.text("sessionAffinity") != "None",
        "spec.SessionAffinity is ignored for headless services".into(),
    );
    each_ip("externalIPs", &mut warnings);
    if has_external_ips && !is_headless && ty != "ExternalName" {
        warnings.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    if !spec.text("loadBalancerIP").is_empty() {
        ip_warning(spec.text("loadBalancerIP"), &path.child("loadBalancerIP"), &mut warnings);
    }
    let at = path.child("loadBalancerSourceRanges");
    for (i, range) in texts(spec, "loadBalancerSourceRanges").enumerate() {
        cidr_warnings(range, &at.index(i), &mut warnings);
    }
    if ty == "ExternalName" && has_external_ips {
        warnings.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if ty != "ExternalName" && !spec.text("externalName").is_empty() {
        warnings.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if spec.text("trafficDistribution") == "PreferClose" {
        warnings.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    warnings
}
