//! Compact fixtures for tests of decisions.

use jiff::Timestamp;
use orlop_api::codec::yaml::from_yaml_all;
use orlop_client::engine::{Controller, Failure, Key, Plan, View, Write};
use serde_json::Value;

/// The moment at which fixtures are looked at.
pub const NOW: &str = "2026-01-01T12:00:00Z";

pub fn at(text: &str) -> Timestamp {
    text.parse().expect("a time in a test")
}

/// The documents of a fixture. What every stored object has is filled in when left out: a namespace
/// (`d`) for kinds that may have one, a uid (the name), a creation time, a version.
pub fn objects(yaml: &str) -> Vec<Value> {
    let mut objects = from_yaml_all(yaml.as_bytes()).expect("YAML in a test");
    for object in &mut objects {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let namespaced = !matches!(
            object["kind"].as_str(),
            Some(
                "CertificateSigningRequest"
                    | "IPAddress"
                    | "Node"
                    | "Namespace"
                    | "PersistentVolume"
                    | "ServiceCIDR"
                    | "StorageClass"
                    | "VolumeAttributesClass"
            )
        );
        let version = match object["kind"].as_str() {
            Some("Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "ControllerRevision") => "apps/v1",
            Some("Job" | "CronJob") => "batch/v1",
            Some("PodDisruptionBudget") => "policy/v1",
            Some("StorageClass" | "VolumeAttributesClass") => "storage.k8s.io/v1",
            Some("EndpointSlice") => "discovery.k8s.io/v1",
            Some("CertificateSigningRequest") => "certificates.k8s.io/v1",
            Some("IPAddress" | "ServiceCIDR") => "networking.k8s.io/v1",
            Some("Lease") => "coordination.k8s.io/v1",
            _ => "v1",
        };
        let mut fill = |pointer: &[&str], value: Value| {
            let mut place = &mut *object;
            for part in pointer {
                place = &mut place[*part];
            }
            if place.is_null() {
                *place = value;
            }
        };
        fill(&["apiVersion"], version.into());
        fill(&["metadata", "uid"], name.into());
        fill(&["metadata", "resourceVersion"], "1".into());
        fill(&["metadata", "creationTimestamp"], "2026-01-01T00:00:00Z".into());
        if namespaced {
            fill(&["metadata", "namespace"], "d".into());
        }
    }
    objects
}

/// What `controller` decides about `key` (`namespace/name`) at [`NOW`].
pub fn decide(controller: &Controller, key: &str, yaml: &str) -> Plan {
    decide_view(controller, key, &controller.view_of(&objects(yaml)))
}

/// [`decide`], right after a plan failed.
pub fn decide_after(controller: &Controller, key: &str, yaml: &str, failure: Failure) -> Plan {
    decide_view(controller, key, &controller.view_of(&objects(yaml)).with_failure(Some(failure)))
}

pub fn decide_view(controller: &Controller, key: &str, view: &View) -> Plan {
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    let plan = (controller.decide)(&Key::new(namespace, name), view, at(NOW));
    for write in plan.writes() {
        check_grants(controller, write);
    }
    plan
}

/// No decision may want what its controller does not declare.
fn check_grants(controller: &Controller, write: &Write) {
    let allowed = |verb: &str, group: &str, resource: &str| {
        let granted = controller.grants.iter().any(|grant| grant.allows(verb, group, resource));
        assert!(granted, "{} has no grant to {verb} {resource} in group {group:?}: {write}", controller.name);
    };
    let slash = if write.subresource().is_empty() { "" } else { "/" };
    let resource = format!("{}{slash}{}", write.resource.plural, write.subresource());
    allowed(write.verb(), &write.resource.group, &resource);
    if let Some(alive) = &write.alive {
        allowed("get", &alive.resource.group, &alive.resource.plural);
    }
}

/// The body of the only write that displays as `line`.
pub fn body(plan: &Plan, line: &str) -> Value {
    let found: Vec<_> = plan.writes().filter(|w| w.to_string() == line).collect();
    assert_eq!(found.len(), 1, "{line} in {:#?}", plan.lines());
    found[0].body()
}

/// Events that writes carry for their success, in order, and events of the plan.
pub fn events(plan: &Plan) -> Vec<String> {
    let done = plan.writes().filter_map(|w| w.done.as_deref());
    done.chain(&plan.notes).map(|n| format!("{} {}: {}", n.kind.as_str(), n.reason, n.message)).collect()
}
