//! Objects for tests, from JSON.

use std::sync::Arc;

use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{Node, Pod};
use serde_json::{Value, json};

use crate::cycle::{Cycle, Listed};
use crate::kin::Families;
use crate::plugins::PLUGINS;
use crate::pod::PodInfo;
use crate::schedule::{Decision, schedule};
use crate::snapshot::Snapshot;

pub fn pod(value: Value) -> Pod {
    Pod::decode(value.to_string().as_bytes()).expect("a pod")
}

pub fn pod_info(value: Value) -> PodInfo {
    PodInfo::new(Arc::new(pod(value)), &mut Families::default())
}

/// A node of 4 CPUs, 8 GiB and 10 pods, labelled with its name; `extra` is laid over it.
pub fn node(name: &str, extra: Value) -> Node {
    let mut value = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}}});
    merge(&mut value, &extra);
    Node::decode(value.to_string().as_bytes()).expect("a node")
}

pub fn cluster(nodes: &[Node]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    nodes.iter().for_each(|node| snapshot.set_node(Arc::new(node.clone())));
    snapshot
}

/// The node that a pod gets.
pub fn bound(cluster: &Snapshot, pod: Value) -> String {
    match decide(cluster, pod) {
        Decision::Bind { node } => node,
        Decision::Unfit(diagnosis) => panic!("{diagnosis}"),
    }
}

/// Why a pod gets none.
pub fn unfit(cluster: &Snapshot, pod: Value) -> String {
    match decide(cluster, pod) {
        Decision::Unfit(diagnosis) => diagnosis.to_string(),
        Decision::Bind { node } => panic!("bound to {node}"),
    }
}

fn decide(cluster: &Snapshot, pod: Value) -> Decision {
    let (pod, listed) = (pod_info(pod), Listed::default());
    schedule(&Cycle::new(&pod, cluster, &listed), PLUGINS, &mut 0, &mut fastrand::Rng::with_seed(1))
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, from) => *into = from.clone(),
    }
}
