//! `k8s.io/api/core/v1` (upstream `pkg/apis/core/v1`).

use serde_json::{Value, json};

use super::{Object, Rule, child, existing, has, is_empty, set, set_number, set_text, text};

pub const RULES: (&str, &[(&str, Rule)]) = (
    "io.k8s.api.core.v1.",
    &[
        ("AzureDiskVolumeSource", azure_disk),
        ("ConfigMapVolumeSource", readable_mode),
        ("Container", container),
        ("ContainerPort", tcp),
        ("DownwardAPIVolumeSource", readable_mode),
        ("Endpoints", endpoints),
        ("EphemeralContainer", container),
        ("FileKeySelector", |f| set(f, "optional", false)),
        ("GRPCAction", |g| set(g, "service", "")),
        ("HTTPGetAction", http_get),
        ("HostPathVolumeSource", |h| set(h, "type", "")),
        ("ISCSIPersistentVolumeSource", |i| set_text(i, "iscsiInterface", "default")),
        ("ISCSIVolumeSource", |i| set_text(i, "iscsiInterface", "default")),
        ("LimitRangeItem", limit_range_item),
        ("Namespace", namespace),
        ("NodeStatus", node_status),
        ("ObjectFieldSelector", |f| set_text(f, "apiVersion", "v1")),
        ("PersistentVolume", persistent_volume),
        ("PersistentVolumeClaim", |c| set_text(child(c, "status"), "phase", "Pending")),
        ("PersistentVolumeClaimSpec", |s| set(s, "volumeMode", "Filesystem")),
        ("Pod", pod),
        ("PodSpec", pod_spec),
        ("PodStatus", pod_status),
        ("Probe", probe),
        ("ProjectedVolumeSource", readable_mode),
        ("RBDPersistentVolumeSource", rbd),
        ("RBDVolumeSource", rbd),
        ("ReplicationController", replication_controller),
        ("ScaleIOPersistentVolumeSource", scale_io),
        ("ScaleIOVolumeSource", scale_io),
        ("Secret", |s| set_text(s, "type", "Opaque")),
        ("SecretVolumeSource", readable_mode),
        ("Service", service),
        ("ServiceAccountTokenProjection", |t| set(t, "expirationSeconds", 3600)),
        ("Volume", volume),
    ],
);

/// 0644.
fn readable_mode(source: &mut Object) {
    set(source, "defaultMode", 420);
}

fn tcp(port: &mut Object) {
    set_text(port, "protocol", "TCP");
}

fn azure_disk(disk: &mut Object) {
    set(disk, "cachingMode", "ReadWrite");
    set(disk, "fsType", "ext4");
    set(disk, "readOnly", false);
    set(disk, "kind", "Shared");
}

fn rbd(source: &mut Object) {
    set_text(source, "pool", "rbd");
    set_text(source, "user", "admin");
    set_text(source, "keyring", "/etc/ceph/keyring");
}

fn scale_io(source: &mut Object) {
    set_text(source, "storageMode", "ThinProvisioned");
    set_text(source, "fsType", "xfs");
}

fn container(container: &mut Object) {
    let policy = pull_policy(text(container, "image"));
    set_text(container, "imagePullPolicy", policy);
    set_text(container, "terminationMessagePath", "/dev/termination-log");
    set_text(container, "terminationMessagePolicy", "File");
}

/// An image without a tag or digest is its `latest`, and that changes under one's feet. A text that
/// is no reference at all has no tag: validation speaks of it later.
fn pull_policy(image: &str) -> &'static str {
    let (rest, has_digest) = image.split_once('@').map_or((image, false), |(rest, _)| (rest, true));
    let colon = rest.rfind(':').filter(|colon| rest.rfind('/').is_none_or(|slash| slash < *colon));
    let (name, tag) = colon.map_or((rest, None), |at| (&rest[..at], Some(&rest[at + 1..])));
    let is_latest = is_repository(name) && tag.map_or(!has_digest, |tag| tag == "latest");
    if is_latest { "Always" } else { "IfNotPresent" }
}

/// Longest path of a repository, its registry included (`github.com/distribution/reference`).
const REPOSITORY_MAX_LENGTH: usize = 255;

fn is_repository(name: &str) -> bool {
    let is_domain = |first: &str| first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first;
    let path = match name.split_once('/') {
        Some((domain, path)) if is_domain(domain) => {
            let host = domain.split_once(':').map_or(domain, |(host, _)| host);
            let label = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !domain.starts_with('[') && !host.split('.').all(label) {
                return false;
            }
            path
        }
        _ => name,
    };
    let is_identifier = name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    name.len() <= REPOSITORY_MAX_LENGTH && !is_identifier && path.split('/').all(is_path_component)
}

/// Small letters and digits, with one `.`, one or two `_`, or any number of `-` between them.
fn is_path_component(component: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator = |s: &str| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-');
    component.starts_with(word) && component.ends_with(word) && component.split(word).all(separator)
}

fn http_get(action: &mut Object) {
    set_text(action, "path", "/");
    set_text(action, "scheme", "HTTP");
}

fn probe(probe: &mut Object) {
    for (field, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        set_number(probe, field, value);
    }
}

fn volume(volume: &mut Object) {
    let has_source = volume.iter().any(|(field, value)| field != "name" && !value.is_null());
    if !has_source {
        volume.insert("emptyDir".into(), json!({}));
    }
    if let Some(image) = existing(volume, "image") {
        let policy = pull_policy(text(image, "reference"));
        set_text(image, "pullPolicy", policy);
    }
}

fn pod_spec(spec: &mut Object) {
    let account = match text(spec, "serviceAccountName") {
        "" => text(spec, "serviceAccount").to_owned(),
        name => name.to_owned(),
    };
    if !account.is_empty() {
        spec.insert("serviceAccountName".into(), account.clone().into());
        spec.insert("serviceAccount".into(), account.into());
    }
    set_text(spec, "dnsPolicy", "ClusterFirst");
    set_text(spec, "restartPolicy", "Always");
    set(spec, "securityContext", json!({}));
    set(spec, "terminationGracePeriodSeconds", 30);
    set_text(spec, "schedulerName", "default-scheduler");
}

/// Of a Pod only: templates keep what they were given.
fn pod(pod: &mut Object) {
    let spec = child(pod, "spec");
    if spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|s| s < 0) {
        spec.insert("terminationGracePeriodSeconds".into(), 1.into());
    }
    set(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or(false);
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            request_what_is_limited(container);
            if host_network {
                publish_ports(container);
            }
        }
    }
}

fn request_what_is_limited(container: &mut Object) {
    let Some(resources) = existing(container, "resources") else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    if !limits.is_empty() {
        let requests = child(resources, "requests");
        limits.into_iter().for_each(|(name, limit)| set(requests, &name, limit));
    }
}

/// On the host's network a container port is a host port.
fn publish_ports(container: &mut Object) {
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            let number = port.get("containerPort").and_then(Value::as_i64).unwrap_or(0);
            if number != 0 {
                set_number(port, "hostPort", number);
            }
        }
    }
}

/// `podIP` and `podIPs[0]` say the same; the single field wins, for old kubelets' sake.
fn pod_status(status: &mut Object) {
    let one = text(status, "podIP").to_owned();
    let first = status.get("podIPs").and_then(|ips| ips[0]["ip"].as_str()).unwrap_or_default().to_owned();
    match (one.is_empty(), first.is_empty()) {
        (false, _) if one != first => {
            status.insert("podIPs".into(), json!([{ "ip": one }]));
        }
        (true, false) => {
            status.insert("podIP".into(), first.into());
        }
        _ => {}
    }
}

fn replication_controller(controller: &mut Object) {
    let spec = child(controller, "spec");
    set(spec, "replicas", 1);
    let labels = spec.get("template").and_then(|t| t["metadata"]["labels"].as_object()).cloned().unwrap_or_default();
    if labels.is_empty() {
        return;
    }
    if is_empty(spec, "selector") {
        spec.insert("selector".into(), Value::Object(labels.clone()));
    }
    let metadata = child(controller, "metadata");
    if is_empty(metadata, "labels") {
        metadata.insert("labels".into(), Value::Object(labels));
    }
}

fn service(service: &mut Object) {
    let spec = child(service, "spec");
    set_text(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => drop(spec.remove("sessionAffinityConfig")),
        "ClientIP" => {
            let known = spec.get("sessionAffinityConfig").is_some_and(|c| !c["clientIP"]["timeoutSeconds"].is_null());
            if !known {
                spec.insert("sessionAffinityConfig".into(), json!({ "clientIP": { "timeoutSeconds": 10800 } }));
            }
        }
        _ => {}
    }
    set_text(spec, "type", "ClusterIP");
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            tcp(port);
            let unset = matches!(port.get("targetPort"), None | Some(Value::Null))
                || port["targetPort"] == 0
                || port["targetPort"] == "";
            if unset {
                port.insert("targetPort".into(), port.get("port").cloned().unwrap_or_else(|| 0.into()));
            }
        }
    }
    let ty = text(spec, "type").to_owned();
    let is_external =
        matches!(ty.as_str(), "NodePort" | "LoadBalancer") || (ty == "ClusterIP" && !is_empty(spec, "externalIPs"));
    if is_external {
        set_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(ty.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        set(spec, "internalTrafficPolicy", "Cluster");
    }
    if ty == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
        let ingress =
            existing(service, "status").and_then(|s| existing(s, "loadBalancer")).and_then(|l| l.get_mut("ingress"));
        for address in ingress.and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(address) = address.as_object_mut().filter(|a| !is_empty(a, "ip")) {
                set(address, "ipMode", "VIP");
            }
        }
    }
}

fn endpoints(endpoints: &mut Object) {
    for subset in endpoints.get_mut("subsets").and_then(Value::as_array_mut).into_iter().flatten() {
        for port in subset.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(port) = port.as_object_mut() {
                tcp(port);
            }
        }
    }
}

/// A namespace carries its name as a label; one that waits for a generated name does not yet.
fn namespace(namespace: &mut Object) {
    let metadata = child(namespace, "metadata");
    let name = text(metadata, "name").to_owned();
    if !name.is_empty() {
        child(metadata, "labels").insert("kubernetes.io/metadata.name".into(), name.into());
    }
    set_text(child(namespace, "status"), "phase", "Active");
}

fn node_status(status: &mut Object) {
    if !has(status, "allocatable") && has(status, "capacity") {
        let capacity = status["capacity"].clone();
        status.insert("allocatable".into(), capacity);
    }
}

fn persistent_volume(volume: &mut Object) {
    set_text(child(volume, "status"), "phase", "Pending");
    let spec = child(volume, "spec");
    set_text(spec, "persistentVolumeReclaimPolicy", "Retain");
    set(spec, "volumeMode", "Filesystem");
}

/// Of container limits: the default limit is the maximum, the default request the limit, else the minimum.
fn limit_range_item(item: &mut Object) {
    if text(item, "type") != "Container" {
        return;
    }
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        if let Some(Value::Object(values)) =
            item.get(from).cloned().filter(|v| v.as_object().is_some_and(|o| !o.is_empty()))
        {
            let target = child(item, to);
            values.into_iter().for_each(|(name, value)| set(target, &name, value));
        }
    }
}
