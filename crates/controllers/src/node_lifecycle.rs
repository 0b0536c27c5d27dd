//! Watches over nodes: one whose Lease is not renewed is Unknown; what its conditions say becomes
//! taints; pods on a node that is not Ready are not ready either.

use jiff::{SignedDuration, Timestamp};
use orlop_api::pods::{is_ready, node_is_ready, node_name};
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::{NodeCondition, Taint};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use orlop_api::typed::kinds::{Lease, Node, Pod};
use orlop_client::engine::{Controller, Grant, Key, Note, Plan, Source, Step, View, Write};
use serde_json::json;

use crate::common::pods::{BY_NODE, on_node};

/// Silence after which a node is Unknown (`--node-monitor-grace-period`).
const GRACE: SignedDuration = SignedDuration::from_secs(50);
/// Silence allowed after registration (`--node-startup-grace-period`).
const STARTUP_GRACE: SignedDuration = SignedDuration::from_secs(60);
const LEASES: &str = "kube-node-lease";

pub fn controller() -> Controller {
    let leases = Source::of::<Lease>(|delta, _, wake| {
        if delta.object().namespace() == LEASES {
            wake(Key::new("", delta.object().name()));
        }
    });
    // A pod that becomes ready on a node that is not: the node's decision sees to it.
    let pods = Source::indexed::<Pod>(vec![BY_NODE], |delta, view, wake| {
        let node = delta.new.as_ref().filter(|pod| is_ready(pod)).and_then(|pod| node_name(pod));
        if let Some(node) = node.and_then(|name| view.of::<Node>().get("", name)).filter(|node| !node_is_ready(node)) {
            wake(Key::of(&**node));
        }
    });
    let mut grants = vec![
        Grant::new("", &["nodes"], &["get", "list", "update", "delete", "patch"]),
        Grant::new("", &["nodes/status", "pods/status"], &["patch", "update"]),
        Grant::new("", &["pods"], &["get", "list", "delete"]),
    ];
    grants.extend(Grant::EVENTS);
    let sources = vec![Source::subject::<Node>(), leases, pods];
    Controller::new("node-controller", "node_lifecycle_controller", sources, grants, decide)
}

/// Conditions a kubelet keeps; all become Unknown when it falls silent.
const KEPT: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let Some(node) = view.subject::<Node>(key) else { return Plan::none() };
    let mut plan = Plan::none();
    let silent_at = heartbeat(node, view).map_or_else(|| created(node) + STARTUP_GRACE, |last| last + GRACE);
    let mut seen = (**node).clone();
    if now < silent_at {
        plan.wake_by(silent_at);
    } else if mark_unknown(&mut seen, now) {
        plan.write(Write::update_status(&seen).done(Note::normal(
            &**node,
            "NodeNotReady",
            format!("Node {} status is now: NodeNotReady", node.name()),
        )));
    }
    if let Some(taints) = retainted(&seen, now) {
        let mut tainted = (**node).clone();
        tainted.spec.get_or_insert_default().taints = Some(taints);
        // A status written first has changed the version: the taints follow at the next look.
        if plan.steps.is_empty() {
            plan.write(Write::update(&tainted));
        }
    }
    if !node_is_ready(&seen) {
        let unready: Vec<Write> =
            on_node(view, node.name()).filter(|p| is_ready(p)).map(|p| not_ready(p, now)).collect();
        if !unready.is_empty() {
            plan.steps.push(Step::Together(unready));
        }
    }
    plan
}

/// When the node was last heard of: its Lease, or its own Ready condition.
fn heartbeat(node: &Node, view: &View) -> Option<Timestamp> {
    let lease = view.of::<Lease>().get(LEASES, node.name());
    let renewed = lease.and_then(|l| l.spec.as_ref()).and_then(|s| s.renew_time.as_ref()).map(|t| t.0);
    let ready = condition(node, "Ready").and_then(|c| c.last_heartbeat_time.as_ref()).map(|t| t.0);
    renewed.into_iter().chain(ready).max()
}

fn created(node: &Node) -> Timestamp {
    node.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0)
}

/// Sets every kept condition to Unknown; false when they are.
fn mark_unknown(node: &mut Node, now: Timestamp) -> bool {
    let conditions = node.status.get_or_insert_default().conditions.get_or_insert_default();
    let mut changed = false;
    for ty in KEPT {
        let known = conditions.iter_mut().find(|c| c.type_ == ty);
        match known {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                condition.status = "Unknown".into();
                condition.reason = Some("NodeStatusUnknown".into());
                condition.message = Some("Kubelet stopped posting node status.".into());
                condition.last_transition_time = Some(Time(now));
                changed = true;
            }
            None => {
                conditions.push(NodeCondition {
                    type_: ty.into(),
                    status: "Unknown".into(),
                    reason: Some("NodeStatusNeverUpdated".into()),
                    message: Some("Kubelet never posted node status.".into()),
                    last_transition_time: Some(Time(now)),
                    last_heartbeat_time: None,
                });
                changed = true;
            }
        }
    }
    changed
}

/// What a condition's state means as a taint.
const CONDITION_TAINTS: [(&str, &str, &str); 6] = [
    ("Ready", "False", "node.kubernetes.io/not-ready"),
    ("Ready", "Unknown", "node.kubernetes.io/unreachable"),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];
const CORDON: &str = "node.kubernetes.io/unschedulable";

/// The node's taints as they should be, others' kept, or `None` when they are.
fn retainted(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let spec = node.spec.clone().unwrap_or_default();
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for (ty, status, key) in CONDITION_TAINTS {
        let holds = condition(node, ty).map_or("Unknown", |c| &c.status) == status
            && (ty == "Ready" || condition(node, ty).is_some());
        if holds {
            wanted.push((key, "NoSchedule"));
            if ty == "Ready" {
                wanted.push((key, "NoExecute"));
            }
        }
    }
    if spec.unschedulable == Some(true) {
        wanted.push((CORDON, "NoSchedule"));
    }
    let old = spec.taints.unwrap_or_default();
    let is_ours = |t: &Taint| {
        let executes =
            t.effect == "NoExecute" && CONDITION_TAINTS.iter().any(|(ty, _, key)| *ty == "Ready" && *key == t.key);
        executes
            || (t.effect == "NoSchedule"
                && (t.key == CORDON || CONDITION_TAINTS.iter().any(|(_, _, key)| *key == t.key)))
    };
    let stays = |t: &Taint| !is_ours(t) || wanted.contains(&(t.key.as_str(), t.effect.as_str()));
    let mut new: Vec<Taint> = old.iter().filter(|t| stays(t)).cloned().collect();
    for (key, effect) in wanted {
        if !new.iter().any(|t| t.key == key && t.effect == effect) {
            let time_added = Some(Time(now));
            new.push(Taint { key: key.into(), effect: effect.into(), value: None, time_added });
        }
    }
    (new != old).then_some(new)
}

fn not_ready(pod: &Pod, now: Timestamp) -> Write {
    let patch = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady", "lastTransitionTime": now.to_string()}]}});
    Write::patch(pod, "status", patch).gone_is_fine().done(Note::warning(pod, "NodeNotReady", "Node is not ready"))
}

fn condition<'a>(node: &'a Node, ty: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == ty)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const T0: &str = "2026-01-01T00:00:00Z";

    fn node(ready: &str, taints: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "uid": "u", "resourceVersion": "1", "creationTimestamp": T0},
            "spec": {"taints": taints}, "status": {"conditions": [{"type": "Ready", "status": ready, "lastHeartbeatTime": T0}]}})
    }

    fn lease(renewed: &str) -> Value {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "n", "namespace": LEASES}, "spec": {"renewTime": renewed}})
    }

    fn plan(objects: &[Value], now: &str) -> Plan {
        decide(&Key::new("", "n"), &controller().view_of(objects), now.parse().unwrap())
    }

    fn taints(plan: &Plan) -> Vec<String> {
        let body = plan.writes().find(|w| w.subresource().is_empty()).map(Write::body).unwrap_or_default();
        let taints = body["spec"]["taints"].as_array().cloned().unwrap_or_default();
        taints.iter().map(|t| format!("{}:{}", t["key"].as_str().unwrap(), t["effect"].as_str().unwrap())).collect()
    }

    #[test]
    fn a_node_that_renews_its_lease_is_left_alone() {
        let plan = plan(&[node("True", json!([])), lease("2026-01-01T00:05:00.000000Z")], "2026-01-01T00:05:20Z");
        assert_eq!(plan.lines(), ["wake 2026-01-01T00:05:50Z"]);
    }

    #[test]
    fn a_silent_node_becomes_unknown_then_tainted_and_its_pods_not_ready() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "d", "uid": "p"},
            "spec": {"nodeName": "n", "containers": []}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let first = plan(&[node("True", json!([])), lease("2026-01-01T00:00:00.000000Z"), pod], "2026-01-01T00:01:00Z");
        assert_eq!(first.lines(), ["update nodes/status n", "patch pods/status d/p"]);
        let body = first.writes().next().unwrap().body();
        let statuses: Vec<&str> =
            body["status"]["conditions"].as_array().unwrap().iter().map(|c| c["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, ["Unknown"; 4]);
        let second = plan(&[body], "2026-01-01T00:01:00Z");
        assert_eq!(
            taints(&second),
            ["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"]
        );
        let third = plan(&[second.writes().next().unwrap().body()], "2026-01-01T00:01:00Z");
        assert!(third.is_converged());
    }

    #[test]
    fn taints_follow_conditions_and_others_taints_stay() {
        let foreign = json!([{"key": "mine", "effect": "NoSchedule"}, {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]);
        let healed = plan(&[node("True", foreign), lease("2026-01-01T00:00:00.000000Z")], "2026-01-01T00:00:10Z");
        assert_eq!(taints(&healed), ["mine:NoSchedule"]);
        let mut cordoned = node("False", json!([]));
        cordoned["spec"]["unschedulable"] = true.into();
        let plan = plan(&[cordoned], "2026-01-01T00:00:10Z");
        assert_eq!(
            taints(&plan),
            [
                "node.kubernetes.io/not-ready:NoSchedule",
                "node.kubernetes.io/not-ready:NoExecute",
                "node.kubernetes.io/unschedulable:NoSchedule"
            ]
        );
    }
}
