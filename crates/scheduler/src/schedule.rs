//! One pod, decided.

use std::collections::BTreeSet;

use crate::cycle::Cycle;
use crate::diagnosis::Diagnosis;
use crate::framework::{Plugin, Rejection};
use crate::node::NodeInfo;

/// What to do with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Bind {
        node: String,
    },
    /// No node; the pod waits.
    Unfit(Diagnosis),
}

/// Below this many nodes all are looked at (upstream's `minFeasibleNodesToFind`).
const MIN_FEASIBLE: usize = 100;
/// Smallest part of a large cluster that is looked at, in percent.
const MIN_PERCENT: usize = 5;

/// Finds the best node. `start` is where the search begins, so that in large clusters, where it ends
/// early, every node gets its turn; it is moved on.
pub fn schedule(cycle: &Cycle, plugins: &[&'static Plugin], start: &mut usize, rng: &mut fastrand::Rng) -> Decision {
    let (pod, cluster) = (cycle.pod, cycle.cluster);
    let mut diagnosis = Diagnosis { nodes: cluster.len(), ..Diagnosis::default() };
    for plugin in plugins {
        if let Some(Err(rejection)) = plugin.pre_filter.map(|pre_filter| pre_filter(cycle)) {
            diagnosis.reject_all(plugin.name, &rejection);
            return Decision::Unfit(diagnosis);
        }
    }
    if let Some(nominated) = cluster.nomination_of(&pod.uid).and_then(|name| cluster.node(name)) {
        // Room was made there for this pod.
        if fits(cycle, nominated, plugins).is_ok() {
            return Decision::Bind { node: nominated.name.clone() };
        }
    }
    let named: Vec<&NodeInfo> = named(cycle).into_iter().filter(|node| fits(cycle, node, plugins).is_ok()).collect();
    if let Some(node) = best(cycle, &named, plugins, rng) {
        return Decision::Bind { node: node.name.clone() };
    }
    let wanted = feasible_wanted(cluster.len());
    let mut feasible: Vec<&NodeInfo> = Vec::new();
    let mut looked_at = 0;
    for step in 0..cluster.len() {
        let node = cluster.node_at((*start + step) % cluster.len());
        looked_at += 1;
        match fits(cycle, node, plugins) {
            Ok(()) => feasible.push(node),
            Err((plugin, rejection)) => diagnosis.add(&node.name, plugin, &rejection),
        }
        if feasible.len() >= wanted {
            break;
        }
    }
    *start = if cluster.is_empty() { 0 } else { (*start + looked_at) % cluster.len() };
    match best(cycle, &feasible, plugins, rng) {
        Some(node) => Decision::Bind { node: node.name.clone() },
        None => Decision::Unfit(diagnosis),
    }
}

/// The nodes that the pod itself names, when that is all it would take: a daemon's pod needs no look at the others
/// unless its own turns it away, and then to say why.
fn named<'a>(cycle: &Cycle<'a>) -> Vec<&'a NodeInfo> {
    let mut names = BTreeSet::new();
    for term in cycle.pod.required_terms.iter().flatten() {
        let Some(of_term) = term.named_nodes() else { return Vec::new() };
        names.extend(of_term);
    }
    names.into_iter().filter_map(|name| cycle.cluster.node(name)).collect()
}

/// Runs every filter; the first to reject speaks. Pods nominated to the node count as there, and as
/// not there: both must hold, for they may or may not come.
pub fn fits(cycle: &Cycle, node: &NodeInfo, plugins: &[&'static Plugin]) -> Result<(), (&'static str, Rejection)> {
    if let Some(grown) = cycle.cluster.with_nominated(node, cycle.pod) {
        filter(cycle, &grown, plugins)?;
    }
    filter(cycle, node, plugins)
}

pub fn filter(cycle: &Cycle, node: &NodeInfo, plugins: &[&'static Plugin]) -> Result<(), (&'static str, Rejection)> {
    for plugin in plugins {
        if let Some(filter) = plugin.filter {
            filter(cycle, node).map_err(|rejection| (plugin.name, rejection))?;
        }
    }
    Ok(())
}

/// The highest sum of weighted scores; among equals, any. Who is alone is not scored.
fn best<'a>(
    cycle: &Cycle,
    nodes: &[&'a NodeInfo],
    plugins: &[&'static Plugin],
    rng: &mut fastrand::Rng,
) -> Option<&'a NodeInfo> {
    if nodes.len() < 2 {
        return nodes.first().copied();
    }
    let mut totals = vec![0i64; nodes.len()];
    for score in plugins.iter().filter_map(|plugin| plugin.score.as_ref()) {
        for (total, one) in totals.iter_mut().zip((score.of)(cycle, nodes)) {
            *total += one * score.weight;
        }
    }
    let most = totals.iter().max().copied().unwrap_or(0);
    let tied: Vec<&&NodeInfo> =
        nodes.iter().zip(&totals).filter(|(_, total)| **total == most).map(|(node, _)| node).collect();
    Some(tied[rng.usize(..tied.len())])
}

/// How many fitting nodes are enough to choose from.
fn feasible_wanted(nodes: usize) -> usize {
    if nodes < MIN_FEASIBLE {
        return nodes.max(1);
    }
    let percent = 50usize.saturating_sub(nodes / 125).max(MIN_PERCENT);
    (nodes * percent / 100).max(MIN_FEASIBLE)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::cycle::Listed;
    use crate::plugins::PLUGINS;
    use crate::snapshot::Snapshot;
    use crate::testing::{cluster, node, pod_info};

    fn decide(cluster: &Snapshot, spec: Value) -> Decision {
        let pod = pod_info(json!({"spec": spec}));
        let listed = Listed::default();
        schedule(&Cycle::new(&pod, cluster, &listed), PLUGINS, &mut 0, &mut fastrand::Rng::with_seed(1))
    }

    fn unfit(cluster: &Snapshot, spec: Value) -> String {
        match decide(cluster, spec) {
            Decision::Unfit(diagnosis) => diagnosis.to_string(),
            Decision::Bind { node } => panic!("bound to {node}"),
        }
    }

    fn bound(cluster: &Snapshot, spec: Value) -> String {
        match decide(cluster, spec) {
            Decision::Bind { node } => node,
            Decision::Unfit(diagnosis) => panic!("{diagnosis}"),
        }
    }

    fn asks(requests: Value) -> Value {
        json!({"containers": [{"name": "c", "resources": {"requests": requests}}]})
    }

    #[test]
    fn rejections_read_as_upstream_prints_them() {
        let cluster = cluster(&[
            node("a", json!({})),
            node("b", json!({"spec": {"unschedulable": true}})),
            node("c", json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}})),
            node("d", json!({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}})),
        ]);
        assert_eq!(
            unfit(&cluster, asks(json!({"cpu": "100", "example.com/gpu": 1}))),
            "0/4 nodes are available: 1 Insufficient cpu, 1 Insufficient example.com/gpu, \
             1 node(s) were unschedulable, 2 node(s) had untolerated taint(s)."
        );
        let mut selective = asks(json!({}));
        selective["nodeSelector"] = json!({"disk": "ssd"});
        assert!(unfit(&cluster, selective).contains("1 node(s) didn't match Pod's node affinity/selector"));
        assert_eq!(unfit(&Snapshot::default(), asks(json!({}))), "no nodes available to schedule pods");
    }

    #[test]
    fn taints_labels_and_fields_steer() {
        let cluster = cluster(&[
            node("a", json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}})),
            node("b", json!({"metadata": {"labels": {"disk": "ssd", "n": "5"}}})),
            node("c", json!({})),
        ]);
        let with = |extra: Value| {
            let mut spec = asks(json!({}));
            spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            spec
        };
        let required = |key: &str, op: &str, values: Value, field: bool| {
            let list = if field { "matchFields" } else { "matchExpressions" };
            with(json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{list: [{"key": key, "operator": op, "values": values}]}]}}}}))
        };
        assert_eq!(bound(&cluster, with(json!({"nodeSelector": {"disk": "ssd"}}))), "b");
        assert_eq!(bound(&cluster, required("n", "Gt", json!(["4"]), false)), "b");
        assert_eq!(bound(&cluster, required("disk", "DoesNotExist", json!([]), false)), "c");
        assert_eq!(bound(&cluster, required("metadata.name", "In", json!(["c"]), true)), "c");
        let tolerant = json!({"tolerations": [{"key": "k", "operator": "Equal", "value": "v"}],
            "nodeSelector": {"kubernetes.io/hostname": "a"}});
        assert_eq!(bound(&cluster, with(tolerant)), "a");
        let preferred = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 10, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]}}});
        assert_eq!(bound(&cluster, with(preferred)), "b");
    }

    #[test]
    fn the_emptier_node_wins_and_a_full_one_is_left() {
        let mut cluster = cluster(&[node("a", json!({})), node("b", json!({}))]);
        let big = pod_info(json!({"metadata": {"uid": "1"}, "spec": asks(json!({"cpu": "2"}))}));
        cluster.add_pod("a", Arc::new(big));
        assert_eq!(bound(&cluster, asks(json!({"cpu": "1"}))), "b");
        let rest = pod_info(json!({"metadata": {"uid": "2"}, "spec": asks(json!({"cpu": "4"}))}));
        cluster.add_pod("b", Arc::new(rest));
        assert_eq!(bound(&cluster, asks(json!({"cpu": "1"}))), "a");
        assert_eq!(unfit(&cluster, asks(json!({"cpu": "3"}))), "0/2 nodes are available: 2 Insufficient cpu.");
    }

    #[test]
    fn host_ports_meet_unless_addresses_differ() {
        let port = |ip: &str| json!({"containers": [{"name": "c", "ports": [{"hostPort": 80, "hostIP": ip, "containerPort": 1}]}]});
        let mut cluster = cluster(&[node("a", json!({}))]);
        cluster.add_pod("a", Arc::new(pod_info(json!({"metadata": {"uid": "1"}, "spec": port("10.0.0.1")}))));
        assert_eq!(bound(&cluster, port("10.0.0.2")), "a");
        for taken in ["10.0.0.1", "0.0.0.0", ""] {
            let why = unfit(&cluster, port(taken));
            assert_eq!(why, "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.");
        }
    }

    #[test]
    fn every_node_gets_its_turn_in_a_large_cluster() {
        let nodes: Vec<_> = (0..1000).map(|n| node(&format!("n{n}"), json!({}))).collect();
        let cluster = cluster(&nodes);
        assert_eq!((feasible_wanted(50), feasible_wanted(1000), feasible_wanted(5000)), (50, 420, 500));
        let (mut start, mut rng) = (0, fastrand::Rng::with_seed(7));
        let pod = pod_info(json!({"spec": asks(json!({}))}));
        let listed = Listed::default();
        let cycle = Cycle::new(&pod, &cluster, &listed);
        schedule(&cycle, PLUGINS, &mut start, &mut rng);
        assert_eq!(start, 420);
        schedule(&cycle, PLUGINS, &mut start, &mut rng);
        schedule(&cycle, PLUGINS, &mut start, &mut rng);
        assert_eq!(start, 260);
    }

    #[test]
    fn a_nominated_pods_room_is_kept_from_lesser_ones() {
        let mut cluster = cluster(&[node("a", json!({}))]);
        let important = |cpu: &str| {
            let mut spec = asks(json!({"cpu": cpu}));
            spec["priority"] = 100.into();
            pod_info(json!({"metadata": {"uid": "vip"}, "spec": spec}))
        };
        cluster.nominate("a", Arc::new(important("3")));
        assert!(unfit(&cluster, asks(json!({"cpu": "2"}))).contains("Insufficient cpu"));
        let vip = important("3");
        let listed = Listed::default();
        let cycle = Cycle::new(&vip, &cluster, &listed);
        let decision = schedule(&cycle, PLUGINS, &mut 0, &mut fastrand::Rng::with_seed(1));
        assert_eq!(decision, Decision::Bind { node: "a".into() });
        cluster.forget_nomination("vip");
        assert_eq!(bound(&cluster, asks(json!({"cpu": "2"}))), "a");
    }

    #[test]
    fn removed_nodes_and_pods_leave_no_trace() {
        let mut cluster = cluster(&[node("a", json!({})), node("b", json!({})), node("c", json!({}))]);
        cluster.add_pod("c", Arc::new(pod_info(json!({"metadata": {"uid": "1"}, "spec": asks(json!({"cpu": "1"}))}))));
        cluster.remove_node("a");
        assert_eq!(cluster.node("c").unwrap().requested.milli_cpu, 1000);
        cluster.remove_pod("1");
        assert!(cluster.node("c").unwrap().requested.is_zero());
        assert_eq!((cluster.len(), cluster.node("a").is_none(), cluster.node_of("1")), (2, true, None));
    }
}
