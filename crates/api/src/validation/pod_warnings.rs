//! What is allowed in a pod and still not wise (`pkg/api/pod/warnings.go`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::containers::each_container;
use super::network::ip_warning;
use super::node::{deprecated_label, node_selector_term_warnings};
use super::prelude::*;
use super::resources::{is_whole, quantity};
use crate::names;

pub(crate) fn of_pod(obj: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some() {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    let problems = names::dns1123_label(crate::meta::name(obj));
    if !problems.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
             recommended: [{}]",
            problems.join(" ")
        ));
    }
    // A pod's paths hang below upstream's nil.
    of_spec(obj, &Path::default(), false, &mut warnings);
    warnings
}

/// Of a pod template.
pub(crate) fn of_template(template: &Value, path: &Path<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    of_spec(template, path, true, &mut warnings);
    warnings
}

fn of_spec(obj: &Value, root: &Path<'_>, is_template: bool, warnings: &mut Vec<String>) {
    let (spec, path) = (&obj["spec"], root.child("spec"));
    node_labels(spec, &path, warnings);
    spreading(spec, &path, warnings);
    let at = root.child("metadata.annotations");
    let annotations = obj.map("metadata.annotations");
    for (key, why) in OLD_ANNOTATIONS.iter().filter(|(key, _)| annotations.contains_key(*key)) {
        warnings.push(format!("{}: {why}", at.key(key)));
    }
    super::volume_warnings::volumes(spec, &path, warnings);
    repeats(spec, &path, warnings);
    for name in ["memory", "ephemeral-storage"] {
        fractional(spec.map("overhead").get(name), &path.child("overhead").key(name), warnings);
    }
    let seccomp = "seccomp.security.alpha.kubernetes.io/pod";
    if !spec.at("securityContext").has("seccompProfile") && annotations.contains_key(seccomp) {
        warnings
            .push(format!("{}: non-functional in v1.27+; use the \"seccompProfile\" field instead", at.key(seccomp)));
    }
    each_container(spec, &path, |container, path| {
        profiles(obj, container, is_template, &at, warnings);
        amounts_and_env(container, path, warnings);
    });
    ports(spec, &path, warnings);
    if spec.int("terminationGracePeriodSeconds") < 0 {
        let at = path.child("terminationGracePeriodSeconds");
        warnings.push(format!("{at}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    affinity(spec, &path, warnings);
    let at = path.child("dnsConfig.nameservers");
    for (i, server) in texts(spec, "dnsConfig.nameservers").enumerate() {
        ip_warning(server, &at.index(i), warnings);
    }
    let at = path.child("hostAliases");
    for (i, alias) in spec.list("hostAliases").iter().enumerate() {
        ip_warning(alias.text("ip"), &at.index(i).child("ip"), warnings);
    }
}

const OLD_ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];

fn node_labels(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let at = path.child("nodeSelector");
    for key in spec.map("nodeSelector").keys() {
        if let Some(why) = deprecated_label(key) {
            warnings.push(format!("{}: {why}", at.key(key)));
        }
    }
    let affinity = spec.at("affinity.nodeAffinity");
    let required = "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    let at = path.child("affinity.nodeAffinity");
    let required_at = at.child(required);
    for (i, term) in affinity.list(required).iter().enumerate() {
        node_selector_term_warnings(term, false, &required_at.index(i), warnings);
    }
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    let preferred_at = at.child(preferred);
    for (i, term) in affinity.list(preferred).iter().enumerate() {
        node_selector_term_warnings(&term["preference"], true, &preferred_at.index(i).child("preference"), warnings);
    }
}

const NULL_SELECTOR: &str = "a null labelSelector results in matching no pod";

fn spreading(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let at = path.child("topologySpreadConstraints");
    for (i, constraint) in spec.list("topologySpreadConstraints").iter().enumerate() {
        let at = at.index(i);
        let key = constraint.text("topologyKey");
        if let Some(why) = deprecated_label(key) {
            warnings.push(format!("{}: {key} is {why}", at.child("topologyKey")));
        }
        if !constraint.has("labelSelector") {
            warnings.push(format!("{}: {NULL_SELECTOR}", at.child("labelSelector")));
        }
    }
}

fn affinity(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    for field in ["podAffinity", "podAntiAffinity"] {
        let at = path.child("affinity");
        let at = at.child(field);
        let value = &spec["affinity"][field];
        let (required, preferred) =
            ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution");
        let required_at = at.child(required);
        for (i, _) in value.list(required).iter().enumerate().filter(|(_, term)| !term.has("labelSelector")) {
            warnings.push(format!("{}: {NULL_SELECTOR}", required_at.index(i).child("labelSelector")));
        }
        let preferred_at = at.child(preferred);
        let without = |term: &Value| !term["podAffinityTerm"].has("labelSelector");
        for (i, _) in value.list(preferred).iter().enumerate().filter(|(_, term)| without(term)) {
            let at = preferred_at.index(i);
            warnings.push(format!("{}: {NULL_SELECTOR}", at.child("podAffinityTerm.labelSelector")));
        }
    }
}

fn repeats(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    for (list, field) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let at = path.child(list);
        let items = spec.list(list);
        for (i, item) in items.iter().enumerate() {
            let value = item.text(field);
            if items[..i].iter().any(|other| other.text(field) == value) {
                warnings.push(format!("{}: duplicate {field} {value:?}", at.index(i).child(field)));
            }
        }
    }
    let at = path.child("imagePullSecrets");
    for (i, _) in spec.list("imagePullSecrets").iter().enumerate().filter(|(_, item)| item.text("name").is_empty()) {
        warnings.push(format!("{}: invalid empty name \"\"", at.index(i).child("name")));
    }
}

fn fractional(amount: Option<&Value>, path: &Path<'_>, warnings: &mut Vec<String>) {
    if let Some(amount) = amount.map(quantity).filter(|amount| !is_whole(amount)) {
        warnings.push(format!("{path}: fractional byte value \"{amount}\" is invalid, must be an integer"));
    }
}

fn profiles(obj: &Value, container: &Value, is_template: bool, at: &Path<'_>, warnings: &mut Vec<String>) {
    let annotations = obj.map("metadata.annotations");
    if annotations.is_empty() {
        return;
    }
    let (name, context) = (container.text("name"), container.at("securityContext"));
    let key = format!("container.seccomp.security.alpha.kubernetes.io/{name}");
    if !context.has("seccompProfile") && annotations.contains_key(&key) {
        warnings.push(format!("{}: non-functional in v1.27+; use the \"seccompProfile\" field instead", at.key(&key)));
    }
    let key = format!("container.apparmor.security.beta.kubernetes.io/{name}");
    let annotation = annotations.get(&key).and_then(Value::as_str);
    if let Some(text) = annotation.filter(|_| is_template && !context.has("appArmorProfile")) {
        let of_pod = obj.at("spec.securityContext.appArmorProfile");
        let same = match (of_pod.text("type"), text.strip_prefix("localhost/")) {
            ("Unconfined", _) => text == "unconfined",
            ("RuntimeDefault", _) => text == "runtime/default",
            ("Localhost", Some(file)) => of_pod.text("localhostProfile") == file,
            _ => false,
        };
        if !same {
            warnings
                .push(format!("{}: deprecated since v1.30; use the \"appArmorProfile\" field instead", at.key(&key)));
        }
    }
}

fn amounts_and_env(container: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    for name in ["memory", "ephemeral-storage"] {
        for kind in ["limits", "requests"] {
            let at = path.child("resources");
            let at = at.child(kind);
            fractional(container["resources"].map(kind).get(name), &at.key(name), warnings);
        }
    }
    let env = container.list("env");
    let at = path.child("env");
    for (i, variable) in env.iter().enumerate() {
        let name = variable.text("name");
        if !env[..i].iter().any(|other| other.text("name") == name) {
            continue;
        }
        let (value, reference) = (variable.text("value"), format!("$({name})"));
        if variable.has("valueFrom") || value == reference || !value.contains(&reference) {
            warnings.push(format!(
                "{}: hides previous definition of {name:?}, which may be dropped when using apply",
                at.index(i)
            ));
        }
    }
}

/// A port seen before: where, and what of the host it asks for.
struct Seen<'a> {
    at: String,
    host_ip: &'a str,
    host_port: i64,
}

fn ports(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let mut seen: BTreeMap<(i64, &str), Vec<Seen<'_>>> = BTreeMap::new();
    let mut by_name: BTreeMap<&str, String> = BTreeMap::new();
    let mut same_names = Vec::new();
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        let path = path.child(field);
        for (i, container) in spec.list(field).iter().enumerate() {
            let path = path.index(i);
            let path = path.child("ports");
            for (i, port) in container.list("ports").iter().enumerate() {
                let at = path.index(i).to_string();
                let (host_ip, host_port) = (port.text("hostIP"), port.int("hostPort"));
                if !host_ip.is_empty() && host_port == 0 {
                    warnings.push(format!("{at}: hostIP set without hostPort: {}", go_port(port)));
                }
                let others = seen.entry((port.int("containerPort"), port.text("protocol"))).or_default();
                for other in others.iter() {
                    let what = if other.host_ip == host_ip && other.host_port == host_port {
                        "duplicate"
                    } else if host_port == 0 || other.host_port == 0 {
                        "overlapping"
                    } else if host_port == other.host_port && host_ip.is_empty() != other.host_ip.is_empty() {
                        "dangerously ambiguous"
                    } else {
                        continue;
                    };
                    warnings.push(format!("{at}: {what} port definition with {}", other.at));
                }
                others.push(Seen { at: at.clone(), host_ip, host_port });
                let name = port.text("name");
                match by_name.get(name) {
                    _ if name.is_empty() => {}
                    Some(other) => same_names.push(format!(
                        "{at}: duplicate port name {name:?} with {other}, services and probes that select ports by name \
                         will use {other}"
                    )),
                    None => drop(by_name.insert(name, at)),
                }
            }
        }
    }
    warnings.extend(same_names);
}

/// Go's `%+v` of a port.
fn go_port(port: &Value) -> String {
    format!(
        "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
        port.text("name"),
        port.int("hostPort"),
        port.int("containerPort"),
        port.text("protocol"),
        port.text("hostIP")
    )
}
