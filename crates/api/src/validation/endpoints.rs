//! Endpoints and EndpointSlices.

use std::net::IpAddr;

use serde_json::Value;

use super::containers::PROTOCOLS;
use super::network::{ip, ip_warning, is_ipv6, legacy_ip, parse_ip_sloppy};
use super::prelude::*;
use crate::equality::same_field;
use crate::names;
use crate::object_meta::{check_domain_name, check_labels, subdomain_rule};

pub(crate) fn endpoints(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    subsets(obj, errors);
}

pub(crate) fn endpoints_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    metadata(obj, true, subdomain_rule, errors);
    if !same_field(obj, old, "subsets") {
        subsets(obj, errors);
    }
}

fn subsets(obj: &Value, errors: &mut ErrorList) {
    let path = Path::new("subsets");
    for (i, subset) in obj.list("subsets").iter().enumerate() {
        let path = path.index(i);
        if subset.list("addresses").is_empty() && subset.list("notReadyAddresses").is_empty() {
            errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for field in ["addresses", "notReadyAddresses"] {
            let at = path.child(field);
            for (i, value) in subset.list(field).iter().enumerate() {
                address(value, &at.index(i), errors);
            }
        }
        let (ports, at) = (subset.list("ports"), path.child("ports"));
        for (i, value) in ports.iter().enumerate() {
            port(value, ports.len() > 1, &at.index(i), errors);
        }
    }
}

fn address(address: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (ip, at) = (address.text("ip"), path.child("ip"));
    legacy_ip(ip, &[], &at, errors);
    if !address.text("hostname").is_empty() {
        dns1123_label(address.text("hostname"), &path.child("hostname"), errors);
    }
    if let Some(node) = address["nodeName"].as_str() {
        errors.each_invalid(&path.child("nodeName"), node, subdomain_rule(node, false));
    }
    reachable_ip(ip, &at, errors);
}

fn port(port: &Value, needs_name: bool, path: &Path<'_>, errors: &mut ErrorList) {
    let name = port.text("name");
    if !name.is_empty() {
        dns1123_label(name, &path.child("name"), errors);
    } else if needs_name {
        errors.required(&path.child("name"), "");
    }
    in_range(port.int("port"), 1, 65535, &path.child("port"), errors);
    match port.text("protocol") {
        "" => errors.required(&path.child("protocol"), ""),
        _ => protocols(port, path, errors),
    }
}

fn protocols(port: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    one_of(port.text("protocol"), PROTOCOLS, &path.child("protocol"), errors);
    if let Some(protocol) = port["appProtocol"].as_str() {
        qualified_name(protocol, &path.child("appProtocol"), errors);
    }
}

/// An address that traffic may be sent to from another machine.
pub(crate) fn reachable_ip(text: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(ip) = parse_ip_sloppy(text).map(|ip| ip.to_canonical()) else {
        return errors.invalid(path, text, "must be a valid IP address");
    };
    let (local, local_multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    if ip.is_unspecified() {
        errors.invalid(path, text, format!("may not be unspecified ({text})"));
    }
    if ip.is_loopback() {
        errors.invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if local {
        errors.invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if local_multicast {
        errors.invalid(path, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// Nothing for the controllers' own objects, whose addresses are known to be good.
pub(crate) fn endpoints_warnings(obj: &Value, _: Option<&Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    if obj["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"] == "endpoint-controller" {
        return warnings;
    }
    let path = Path::new("subsets");
    for (i, subset) in obj.list("subsets").iter().enumerate() {
        let path = path.index(i);
        for field in ["addresses", "notReadyAddresses"] {
            let at = path.child(field);
            for (i, address) in subset.list(field).iter().enumerate() {
                ip_warning(address.text("ip"), &at.index(i).child("ip"), &mut warnings);
            }
        }
    }
    warnings
}

pub(crate) fn slice_warnings(obj: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    if old.is_none() && obj.text("addressType") == "FQDN" {
        warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
    }
    let manager = obj["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"].as_str().unwrap_or_default();
    if matches!(manager, "endpointslice-controller.k8s.io" | "endpointslicemirroring-controller.k8s.io") {
        return warnings;
    }
    let path = Path::new("endpoints");
    for (i, endpoint) in obj.list("endpoints").iter().enumerate() {
        let path = path.index(i);
        let path = path.child("addresses");
        for (i, address) in texts(endpoint, "addresses").enumerate() {
            ip_warning(address, &path.index(i), &mut warnings);
        }
    }
    warnings
}

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_TOPOLOGY_LABELS: usize = 16;
const MAX_HINTS: usize = 8;

pub(crate) fn slice(obj: &Value, errors: &mut ErrorList) {
    slice_body(obj, None, errors);
    declared(obj, None, errors);
}

pub(crate) fn slice_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    slice_body(obj, Some(old), errors);
    declared(obj, Some(old), errors);
}

fn slice_body(obj: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    slice_ports(obj, errors);
    if old.is_none_or(|old| !same_field(obj, old, "endpoints")) {
        slice_endpoints(obj, errors);
    }
}

/// Declared, so upstream reports these last.
fn declared(obj: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    let at = Path::new("addressType");
    let ty = obj.text("addressType");
    match ty {
        "" => errors.required(&at, ""),
        _ => one_of(ty, &["FQDN", "IPv4", "IPv6"], &at, errors),
    }
    if old.is_some_and(|old| old.text("addressType") != ty) {
        errors.invalid(&at, Value::Null, IMMUTABLE);
    }
    if old.is_some_and(|old| same_field(obj, old, "endpoints")) {
        return;
    }
    let path = Path::new("endpoints");
    for (i, endpoint) in obj.list("endpoints").iter().enumerate() {
        let path = path.index(i);
        let (at, count) = (path.child("addresses"), endpoint.list("addresses").len());
        if count == 0 {
            errors.required(&at, "");
        } else if count > MAX_ADDRESSES {
            errors.too_many(&at, count, MAX_ADDRESSES);
        }
    }
}

fn slice_ports(obj: &Value, errors: &mut ErrorList) {
    let (ports, path) = (obj.list("ports"), Path::new("ports"));
    if ports.len() > MAX_PORTS {
        return errors.too_many(&path, ports.len(), MAX_PORTS);
    }
    let mut taken = std::collections::BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let (path, name) = (path.index(i), port.text("name"));
        if !name.is_empty() {
            dns1123_label(name, &path.child("name"), errors);
        }
        if !taken.insert(name) {
            errors.duplicate(&path.child("name"), name);
        }
        protocols(port, &path, errors);
    }
}

fn slice_endpoints(obj: &Value, errors: &mut ErrorList) {
    let (endpoints, path) = (obj.list("endpoints"), Path::new("endpoints"));
    if endpoints.len() > MAX_ENDPOINTS {
        return errors.too_many(&path, endpoints.len(), MAX_ENDPOINTS);
    }
    for (i, endpoint) in endpoints.iter().enumerate() {
        let path = path.index(i);
        let at = path.child("addresses");
        for (i, address) in texts(endpoint, "addresses").enumerate() {
            slice_address(obj.text("addressType"), address, &at, &at.index(i), errors);
        }
        if let Some(node) = endpoint["nodeName"].as_str() {
            errors.each_invalid(&path.child("nodeName"), node, subdomain_rule(node, false));
        }
        let (labels, at) = (endpoint.map("deprecatedTopology"), path.child("deprecatedTopology"));
        if labels.len() > MAX_TOPOLOGY_LABELS {
            errors.too_many(&at, labels.len(), MAX_TOPOLOGY_LABELS);
        }
        check_labels(&endpoint["deprecatedTopology"], &at, errors);
        if let Some(host) = endpoint["hostname"].as_str() {
            dns1123_label(host, &path.child("hostname"), errors);
        }
        hints(&endpoint["hints"], &path.child("hints"), errors);
    }
}

fn slice_address(ty: &str, address: &str, list: &Path<'_>, path: &Path<'_>, errors: &mut ErrorList) {
    let before = errors.0.len();
    match ty {
        "IPv4" => legacy_ip(address, &[], path, errors),
        "IPv6" => ip(address, path, errors),
        "FQDN" => return check_domain_name(address, path, errors),
        _ => return,
    }
    if errors.0.len() > before {
        return;
    }
    if is_ipv6(address) != (ty == "IPv6") {
        errors.invalid(list, address, format!("must be an {ty} address"));
    }
    reachable_ip(address, path, errors);
}

fn hints(hints: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for (field, rule) in [
        ("forZones", names::label_value as fn(&str) -> Vec<String>),
        ("forNodes", |name: &str| subdomain_rule(name, false)),
    ] {
        let (list, at) = (hints.list(field), path.child(field));
        if list.len() > MAX_HINTS {
            return errors.too_many(&at, list.len(), MAX_HINTS);
        }
        for (i, hint) in list.iter().enumerate() {
            let (name, at) = (hint.text("name"), at.index(i));
            let at = at.child("name");
            if list[..i].iter().any(|other| other.text("name") == name) {
                errors.duplicate(&at, name);
            }
            errors.each_invalid(&at, name, rule(name));
        }
    }
}
