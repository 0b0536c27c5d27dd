//! Removes pods that nobody else will: bound to a node that is no more, deleted before they were
//! scheduled, stuck on a node that an operator declared dead, or finished and too many.

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use orlop_api::pods::{is_finished, node_is_ready, node_name};
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{Node, Pod};
use orlop_base::clock;
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};
use orlop_client::{Client, DeleteOptions};
use serde_json::json;

use crate::common::pods::{BY_NODE, on_node};

/// Finished pods kept in the whole cluster (`--terminated-pod-gc-threshold`).
const TERMINATED_MAX: usize = 12_500;
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

pub fn controller() -> Controller {
    let nodes = Source::of::<Node>(|delta, view, wake| {
        let matters = delta.new.as_ref().is_none_or(|node| is_out_of_service(node));
        if matters {
            on_node(view, delta.object().name()).for_each(|pod| wake(Key::of(&**pod)));
        }
    });
    let pods = Source::indexed::<Pod>(vec![BY_NODE], |delta, _, wake| wake(Key::of(&**delta.object())));
    let grants = vec![
        Grant::new("", &["pods"], &["list", "watch", "delete"]),
        Grant::new("", &["nodes"], &["get", "list"]),
        Grant::new("", &["pods/status"], &["patch"]),
    ];
    let mut controller = Controller::new("pod-garbage-collector", "pod_gc", vec![pods, nodes], grants, decide);
    controller.look = Some(Box::new(look));
    controller
}

/// The node was asked for at the server itself, and is not there.
struct NodeIsGone;

/// A pod whose node the cache does not know may only be ahead of it: the server has the last word.
fn look(client: Client, key: Key, view: View) -> BoxFuture<'static, orlop_client::Result<View>> {
    Box::pin(async move {
        let unknown = view.subject::<Pod>(&key).and_then(|pod| node_name(pod)).map(str::to_owned);
        let unknown = unknown.filter(|node| view.of::<Node>().get("", node).is_none());
        match unknown {
            Some(node) if client.all::<Node>().get_opt(&node).await?.is_none() => Ok(view.with(NodeIsGone)),
            _ => Ok(view),
        }
    })
}

fn decide(key: &Key, view: &View, _now: Timestamp) -> Plan {
    let Some(pod) = view.subject::<Pod>(key) else { return Plan::none() };
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let node = node_name(pod).and_then(|name| view.of::<Node>().get("", name));
    match node_name(pod) {
        Some(_) if view.facts::<NodeIsGone>().is_some() => remove(pod, Some("PodGC: node no longer exists")),
        Some(_) if terminating && node.is_some_and(|n| is_out_of_service(n) && !node_is_ready(n)) => {
            remove(pod, Some("PodGC: node is out of service"))
        }
        None if terminating => remove(pod, None),
        _ if is_finished(pod) && surplus(pod, view) => remove(pod, None),
        _ => Plan::none(),
    }
}

/// Deletes at once; a pod that was cut off in its life first says why.
fn remove(pod: &Pod, why: Option<&'static str>) -> Plan {
    let mut plan = Plan::none();
    if let Some(message) = why.filter(|_| !is_finished(pod)) {
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
            "message": message, "lastTransitionTime": clock::rfc3339()});
        let status = json!({"status": {"phase": "Failed", "conditions": [condition]}});
        plan.write(Write::patch(pod, "status", status).gone_is_fine());
    }
    let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    plan.write(Write::delete_with(pod, options));
    plan
}

/// Among the finished pods beyond the limit, this is one of the oldest.
fn surplus(pod: &Pod, view: &View) -> bool {
    let pods = view.of::<Pod>();
    if pods.len() <= TERMINATED_MAX {
        return false;
    }
    let order =
        |pod: &Pod| (pod.metadata.creation_timestamp.clone(), pod.namespace().to_owned(), pod.name().to_owned());
    let own = order(pod);
    let finished = pods.iter().filter(|p| is_finished(p));
    let (total, younger) =
        finished.fold((0, 0), |(total, younger), p| (total + 1, younger + usize::from(order(p) > own)));
    total > TERMINATED_MAX && younger >= TERMINATED_MAX
}

fn is_out_of_service(node: &Node) -> bool {
    node.spec
        .as_ref()
        .and_then(|s| s.taints.as_ref())
        .is_some_and(|taints| taints.iter().any(|t| t.key == OUT_OF_SERVICE))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn pod(extra: Value) -> Value {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "d", "uid": "u"}, "spec": {"containers": []}});
        for (field, value) in extra.as_object().unwrap() {
            match pod.get_mut(field).and_then(Value::as_object_mut) {
                Some(map) => map.extend(value.as_object().unwrap().clone()),
                None => pod[field] = value.clone(),
            }
        }
        pod
    }

    fn lines(objects: &[Value], gone: bool) -> Vec<String> {
        let view = controller().view_of(objects);
        let view = if gone { view.with(NodeIsGone) } else { view };
        decide(&Key::new("d", "p"), &view, Timestamp::UNIX_EPOCH).lines()
    }

    #[test]
    fn only_what_nobody_else_removes_is_removed() {
        let bound = pod(json!({"spec": {"nodeName": "n"}}));
        let deleted = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(lines(std::slice::from_ref(&bound), true), ["patch pods/status d/p", "delete pods d/p"]);
        assert!(lines(std::slice::from_ref(&bound), false).is_empty(), "the node may only be new");
        assert_eq!(
            lines(&[pod(json!({"spec": {"nodeName": "n"}, "status": {"phase": "Failed"}}))], true),
            ["delete pods d/p"]
        );
        assert_eq!(lines(&[pod(json!({"metadata": deleted}))], false), ["delete pods d/p"]);
        assert!(lines(&[pod(json!({}))], false).is_empty());
        let node = |ready: &str| {
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
            "spec": {"taints": [{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
        };
        let stuck = pod(json!({"metadata": deleted, "spec": {"nodeName": "n"}}));
        assert_eq!(lines(&[stuck.clone(), node("Unknown")], false), ["patch pods/status d/p", "delete pods d/p"]);
        assert!(lines(&[stuck, node("True")], false).is_empty());
    }
}
