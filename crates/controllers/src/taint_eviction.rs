//! Deletes pods from nodes whose NoExecute taints they do not tolerate, or no longer do.

use jiff::{SignedDuration, Timestamp};
use orlop_api::pods::{is_finished, node_name, tolerates};
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::{Taint, Toleration};
use orlop_api::typed::kinds::{Node, Pod};
use orlop_client::engine::{Controller, Grant, Key, Note, Plan, Source, View, Write};
use serde_json::json;

use crate::common::pods::{BY_NODE, on_node};

pub fn controller() -> Controller {
    let nodes = Source::of::<Node>(|delta, view, wake| {
        let taints = |side: Option<&std::sync::Arc<Node>>| side.map(|n| no_execute(n)).unwrap_or_default();
        let changed = taints(delta.old.as_ref()) != taints(delta.new.as_ref());
        if changed {
            on_node(view, delta.object().name()).for_each(|pod| wake(Key::of(&**pod)));
        }
    });
    let pods = Source::indexed::<Pod>(vec![BY_NODE], |delta, _, wake| wake(Key::of(&**delta.object())));
    let mut grants = vec![
        Grant::new("", &["pods"], &["get", "list", "delete"]),
        Grant::new("", &["pods/status"], &["patch", "update"]),
    ];
    grants.extend(Grant::EVENTS);
    Controller::new("node-controller", "taint_eviction_controller", vec![pods, nodes], grants, decide)
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let Some(pod) = view.subject::<Pod>(key).filter(|p| p.metadata.deletion_timestamp.is_none() && !is_finished(p))
    else {
        return Plan::none();
    };
    let Some(node) = node_name(pod).and_then(|name| view.of::<Node>().get("", name)) else { return Plan::none() };
    let spec = pod.spec.as_ref();
    let tolerations = spec.and_then(|s| s.tolerations.as_deref()).unwrap_or_default();
    match evict_at(&no_execute(node), tolerations, now) {
        None => Plan::none(),
        Some(at) if at > now => Plan::wake_at(at),
        Some(_) => evict(pod, now),
    }
}

/// When the pod must go: at once, later, or never.
fn evict_at(taints: &[Taint], tolerations: &[Toleration], now: Timestamp) -> Option<Timestamp> {
    let mut due: Option<Timestamp> = None;
    for taint in taints {
        let since = taint.time_added.as_ref().map_or(now, |t| t.0);
        let matching: Vec<&Toleration> = tolerations.iter().filter(|t| tolerates(t, taint)).collect();
        if matching.is_empty() {
            return Some(now);
        }
        // The shortest of them; one without a limit does not make others longer.
        let limit = matching.iter().filter_map(|t| t.toleration_seconds).min();
        if let Some(seconds) = limit {
            let at = if seconds <= 0 {
                now
            } else {
                since.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
            };
            due = Some(due.map_or(at, |known| known.min(at)));
        }
    }
    due
}

fn evict(pod: &Pod, now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": now.to_string()});
    plan.write(Write::patch(pod, "status", json!({"status": {"conditions": [condition]}})).gone_is_fine());
    let text = format!("Marking for deletion Pod {}/{}", pod.namespace(), pod.name());
    plan.write(Write::delete(pod).done(Note::normal(pod, "TaintManagerEviction", text)));
    plan
}

fn no_execute(node: &Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref());
    taints.into_iter().flatten().filter(|t| t.effect == "NoExecute").cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn lines(tolerations: Value, now: &str) -> Vec<String> {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {"taints": [
            {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}, {"key": "x", "effect": "NoSchedule"}]}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "d", "uid": "u"},
            "spec": {"nodeName": "n", "containers": [], "tolerations": tolerations}});
        decide(&Key::new("d", "p"), &controller().view_of(&[node, pod]), now.parse().unwrap()).lines()
    }

    #[test]
    fn tolerations_say_how_long() {
        let evicted = ["patch pods/status d/p", "delete pods d/p"];
        let key = "node.kubernetes.io/unreachable";
        assert_eq!(lines(json!([]), "2026-01-01T00:00:01Z"), evicted);
        assert!(lines(json!([{"key": key, "operator": "Exists"}]), "2026-01-02T00:00:00Z").is_empty());
        let five_minutes = json!([{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}, {"operator": "Exists"}]);
        assert_eq!(lines(five_minutes.clone(), "2026-01-01T00:00:01Z"), ["wake 2026-01-01T00:05:00Z"]);
        assert_eq!(lines(five_minutes, "2026-01-01T00:05:00Z"), evicted);
        assert_eq!(lines(json!([{"key": key, "value": "other"}]), "2026-01-01T00:00:01Z"), evicted);
    }
}
