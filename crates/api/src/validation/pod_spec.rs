//! `core.PodSpec`, of pods and of templates.

use serde_json::Value;

use super::containers::{Context, containers, each_container, ephemeral_containers, init_containers};
use super::network::{host_aliases, pod_dns};
use super::options::Options;
use super::prelude::*;
use super::resources::{self, Holder, requirements};
use super::volumes::volumes;
use super::{scheduling, security, windows};
use crate::object_meta::{check_labels, subdomain_rule};

/// `metadata` is a pod's own and null for a template.
pub(crate) fn pod_spec(spec: &Value, metadata: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    if !spec.has("terminationGracePeriodSeconds") {
        errors.required(&path.child("terminationGracePeriodSeconds"), "");
    }
    let context = Context {
        spec,
        volumes: volumes(spec, metadata.text("name"), &path.child("volumes"), options, errors),
        claim_names: spec
            .list("resourceClaims")
            .iter()
            .map(|c| c.text("name"))
            .filter(|name| !name.is_empty())
            .collect(),
        grace_seconds: spec["terminationGracePeriodSeconds"].as_i64(),
        os: spec.has("os").then(|| spec.text("os.name")),
        options,
    };
    resource_claims(spec, metadata, &path.child("resourceClaims"), errors);
    containers(&context, &path.child("containers"), errors);
    init_containers(&context, &path.child("initContainers"), errors);
    ephemeral_containers(&context, &path.child("ephemeralContainers"), errors);
    resources::of_pod(spec, &context.claim_names, path, options, errors);
    host_network_ports(spec, path, options, errors);
    policies(spec, path, errors);
    check_labels(&spec["nodeSelector"], &path.child("nodeSelector"), errors);
    security::pod_security_context(spec, &path.child("securityContext"), options, errors);
    if spec.flag("hostPID") && spec.flag("shareProcessNamespace") {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.child("shareProcessNamespace"), true, detail);
    }
    scheduling::affinity(spec, &path.child("affinity"), options, errors);
    pod_dns(spec, &path.child("dnsConfig"), errors);
    let at = path.child("readinessGates");
    for (i, gate) in spec.list("readinessGates").iter().enumerate() {
        qualified_name(gate.text("conditionType"), &at.index(i).child("conditionType"), errors);
    }
    scheduling::gates(spec, &path.child("schedulingGates"), errors);
    scheduling::topology_spread(spec, &path.child("topologySpreadConstraints"), options, errors);
    windows::host_process(spec, path, errors);
    host_users(spec, path, options, errors);
    hostname_override(spec, path, errors);
    names_of(spec, path, options, errors);
    windows::operating_system(spec, path, errors);
    scheduling_group(spec, &path.child("schedulingGroup"), errors);
    file_keys(spec, path, errors);
}

fn policies(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let lists: [(&str, &[&str]); 2] = [
        ("restartPolicy", &["Always", "OnFailure", "Never"]),
        ("dnsPolicy", &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]),
    ];
    for (field, supported) in lists {
        match spec.text(field) {
            "" => errors.required(&path.child(field), ""),
            policy => one_of(policy, supported, &path.child(field), errors),
        }
    }
}

/// The many small fields at the end of upstream's list.
fn names_of(spec: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    let subdomain = |field: &str, errors: &mut ErrorList| {
        let name = spec.text(field);
        if !name.is_empty() {
            errors.each_invalid(&path.child(field), name, subdomain_rule(name, false));
        }
    };
    subdomain("serviceAccountName", errors);
    let (account, old_account) = (spec.text("serviceAccountName"), spec.text("serviceAccount"));
    if old_account != account && spec.has("serviceAccount") {
        let detail = format!("must be the same as serviceAccountName: {account:?}");
        errors.invalid(&path.child("deprecatedServiceAccount"), old_account, detail);
    }
    subdomain("nodeName", errors);
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64() {
        in_range(seconds, 1, i32::MAX.into(), &path.child("activeDeadlineSeconds"), errors);
    }
    for field in ["hostname", "subdomain"] {
        if !spec.text(field).is_empty() {
            dns1123_label(spec.text(field), &path.child(field), errors);
        }
    }
    scheduling::tolerations(spec.list("tolerations"), &path.child("tolerations"), options, errors);
    host_aliases(spec, &path.child("hostAliases"), errors);
    subdomain("priorityClassName", errors);
    if let Some(name) = spec["runtimeClassName"].as_str() {
        dns1123_subdomain(name, &path.child("runtimeClassName"), errors);
    }
    let at = path.child("preemptionPolicy");
    match spec["preemptionPolicy"].as_str() {
        Some("") => errors.required(&at, ""),
        _ => optional_one_of(&spec["preemptionPolicy"], &["PreemptLowerPriority", "Never"], &at, errors),
    }
    if spec.has("overhead") {
        let limits = serde_json::json!({ "limits": spec["overhead"] });
        requirements(&limits, Holder::Container, &[], &path.child("overhead"), options, errors);
    }
}

fn resource_claims(spec: &Value, metadata: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut taken: Vec<&str> = Vec::new();
    for (i, claim) in spec.list("resourceClaims").iter().enumerate() {
        if metadata["annotations"].get(super::pod_annotations::MIRROR).is_some() {
            errors.forbidden(&Path::new(""), "static pods do not support resource claims");
            continue;
        }
        let (path, name) = (path.index(i), claim.text("name"));
        let at = path.child("name");
        if name.is_empty() {
            errors.required(&at, "");
        } else if taken.contains(&name) {
            errors.duplicate(&at, name);
        } else {
            dns1123_label(name, &at, errors);
            taken.push(name);
        }
        let internal = || {
            serde_json::json!({ "Name": name, "ResourceClaimName": claim["resourceClaimName"],
                "ResourceClaimTemplateName": claim["resourceClaimTemplateName"] })
        };
        match (claim.has("resourceClaimName"), claim.has("resourceClaimTemplateName")) {
            (true, true) => {
                let detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.invalid(&path, internal(), detail);
            }
            (false, false) => {
                let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.invalid(&path, internal(), detail);
            }
            _ => {}
        }
        for field in ["resourceClaimName", "resourceClaimTemplateName"].into_iter().filter(|f| claim.has(f)) {
            dns1123_subdomain(claim.text(field), &path.child(field), errors);
        }
    }
}

/// Pods in the host's network have the host's ports.
fn host_network_ports(spec: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    if !spec.flag("hostNetwork") {
        return;
    }
    let path = path.child("containers");
    for (i, container) in spec.list("containers").iter().enumerate() {
        let path = path.index(i);
        let path = path.child("ports");
        for (i, port) in container.list("ports").iter().enumerate() {
            let (host, own) = (port.int("hostPort"), port.int("containerPort"));
            if (options.is_pod || host != 0) && host != own {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(&path.index(i).child("hostPort"), host, detail);
            }
        }
    }
}

/// What a pod with users of its own cannot share with the host (KEP 127).
fn host_users(spec: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    if spec["hostUsers"] != false {
        return;
    }
    let detail = "when `hostUsers` is false";
    if spec.flag("hostNetwork") && !options.allow_host_network_without_host_users {
        errors.forbidden(&path.child("hostNetwork"), detail);
    }
    for (field, name) in [("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.flag(field) {
            errors.forbidden(&path.child(name), detail);
        }
    }
    if !options.allow_devices_without_host_users {
        each_container(spec, path, |container, path| {
            if !container.list("volumeDevices").is_empty() {
                errors.forbidden(&path.child("volumeDevices"), detail);
            }
        });
    }
}

/// The kernel's limit on host names.
const MAX_HOSTNAME_LENGTH: usize = 64;

fn hostname_override(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(name) = spec["hostnameOverride"].as_str() else { return };
    let at = path.child("hostnameOverride");
    for field in ["setHostnameAsFQDN", "hostNetwork"] {
        if spec.flag(field) {
            errors.forbidden(&at, format!("may not be specified when {field} is true"));
        }
    }
    if name.len() > MAX_HOSTNAME_LENGTH {
        errors.too_long(&at, MAX_HOSTNAME_LENGTH);
    }
    dns1123_subdomain(name, &at, errors);
}

fn scheduling_group(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if !spec.has("schedulingGroup") {
        return;
    }
    let at = path.child("podGroupName");
    match spec.at("schedulingGroup.podGroupName").as_str() {
        None => errors.invalid(&at, Value::Null, "must specify one of: `podGroupName`"),
        Some(name) => dns1123_subdomain(name, &at, errors),
    }
}

/// Environment read from files is read from volumes that the pod itself fills (KEP 3721).
fn file_keys(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    each_container(spec, path, |container, path| {
        let path = path.child("env");
        for (i, variable) in container.list("env").iter().enumerate() {
            if !variable.at("valueFrom").has("fileKeyRef") {
                continue;
            }
            let name = variable.text("valueFrom.fileKeyRef.volumeName");
            let path = path.index(i);
            let at = path.child("valueFrom.fileKeyRef.volumeName");
            match spec.list("volumes").iter().rfind(|volume| volume.text("name") == name) {
                None => errors.not_found(&at, name),
                Some(volume) if volume.has("emptyDir") => {}
                Some(_) => errors.invalid(&at, name, "referenced volume must be of type emptyDir"),
            }
        }
    });
}
