//! PodTopologySpread: pods of one kind evenly over zones, hosts or whatever nodes are labelled with.
//!
//! A pod that says nothing of its own is spread over hosts and zones as well as can be, with the pods of
//! its Service, set or controller.

use std::collections::{BTreeMap, BTreeSet};

use orlop_api::pods::tolerates;
use orlop_api::selector::Selector;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::TopologySpreadConstraint;

use crate::affinity::selector;
use crate::cycle::Cycle;
use crate::framework::{MAX_SCORE, Plugin, Reason, Rejection, Score, Wake};
use crate::kin::{Kin, Remembered};
use crate::node::NodeInfo;
use crate::plugins::node_affinity;
use crate::pod::PodInfo;

pub static PLUGIN: Plugin = Plugin {
    name: "PodTopologySpread",
    filter: Some(filter),
    score: Some(Score { weight: 2, of: score }),
    wakes_on: &[Wake::NodeAdded, Wake::NodeLabelsChanged, Wake::NodeTaintsChanged, Wake::PodAdded, Wake::PodRemoved],
    ..Plugin::NONE
};

const HOSTNAME: &str = "kubernetes.io/hostname";
/// Upstream's constraints for pods without any: skew and key.
const DEFAULTS: [(i64, &str); 2] = [(3, HOSTNAME), (5, "topology.kubernetes.io/zone")];

struct Constraint {
    max_skew: i64,
    key: String,
    selector: Selector,
    min_domains: usize,
    honors_affinity: bool,
    honors_taints: bool,
    /// Which pods it is about.
    selected: Remembered<bool>,
}

/// A pod's constraints, and how many pods there are by each one's values.
pub struct Spread {
    hard: Vec<(Constraint, BTreeMap<String, i64>)>,
    soft: Vec<Constraint>,
    /// The soft ones are the pod's own: nodes without their labels are no places to spread to.
    is_own: bool,
}

impl Constraint {
    fn of(pod: &PodInfo, given: &TopologySpreadConstraint) -> Self {
        let policy = |policy: Option<&String>, default: bool| policy.map_or(default, |policy| policy == "Honor");
        Self {
            max_skew: i64::from(given.max_skew),
            key: given.topology_key.clone(),
            selector: with_label_keys(pod, selector(given.label_selector.as_ref()), given),
            min_domains: given.min_domains.and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
            honors_affinity: policy(given.node_affinity_policy.as_ref(), true),
            honors_taints: policy(given.node_taints_policy.as_ref(), false),
            selected: Remembered::default(),
        }
    }

    /// Whether the pods of a node count.
    fn includes(&self, cycle: &Cycle, node: &NodeInfo) -> bool {
        let repels = |taint: &&orlop_api::typed::k8s_openapi::api::core::v1::Taint| {
            matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
                && !cycle.pod.tolerations().iter().any(|t| tolerates(t, taint))
        };
        (!self.honors_affinity || node_affinity::matches(cycle.pod, node))
            && (!self.honors_taints || !node.taints().iter().any(|taint| repels(&taint)))
    }

    /// Pods on the node that the constraint is about.
    fn count(&self, pod: &PodInfo, node: &NodeInfo) -> i64 {
        if self.selector.is_empty() {
            return 0;
        }
        let selects = |kin: &Kin| {
            !kin.is_leaving() && kin.namespace() == pod.pod.namespace() && self.selector.matches_opt(kin.labels())
        };
        node.census.iter().filter(|(kin, _)| *self.selected.get(kin, selects)).map(|(_, count)| count).sum()
    }
}

/// `matchLabelKeys`: only pods that have the same values as the new one.
fn with_label_keys(pod: &PodInfo, selector: Selector, given: &TopologySpreadConstraint) -> Selector {
    let labels = pod.pod.metadata.labels.as_ref();
    let keys = given.match_label_keys.iter().flatten();
    let own = keys.filter_map(|key| Some((key, labels?.get(key)?)));
    selector.and(Selector::from_labels(own))
}

impl Spread {
    fn of(cycle: &Cycle) -> Self {
        let given = cycle.pod.spec().topology_spread_constraints.as_deref().unwrap_or_default();
        let of = |when: &str| -> Vec<Constraint> {
            let chosen = given.iter().filter(|c| c.when_unsatisfiable == when);
            chosen.map(|c| Constraint::of(cycle.pod, c)).collect()
        };
        let soft = if given.is_empty() { defaults(cycle) } else { of("ScheduleAnyway") };
        let hard = count(cycle, of("DoNotSchedule"));
        Self { hard, soft, is_own: !given.is_empty() }
    }
}

fn count(cycle: &Cycle, constraints: Vec<Constraint>) -> Vec<(Constraint, BTreeMap<String, i64>)> {
    let keys: Vec<String> = constraints.iter().map(|c| c.key.clone()).collect();
    let mut counted: Vec<_> = constraints.into_iter().map(|c| (c, BTreeMap::new())).collect();
    if counted.is_empty() {
        return counted;
    }
    for node in cycle.cluster.nodes().filter(|node| keys.iter().all(|key| node.labels().contains_key(key))) {
        for (constraint, counts) in counted.iter_mut().filter(|(c, _)| c.includes(cycle, node)) {
            if let Some(value) = node.labels().get(&constraint.key) {
                *counts.entry(value.clone()).or_default() += constraint.count(cycle.pod, node);
            }
        }
    }
    counted
}

/// The default constraints, about the pods of whatever the pod belongs to; none if it belongs to nothing.
fn defaults(cycle: &Cycle) -> Vec<Constraint> {
    let Some(selector) = selector_of_owners(cycle) else { return Vec::new() };
    let constraint = |(max_skew, key): (i64, &str)| Constraint {
        max_skew,
        key: key.to_owned(),
        selector: selector.clone(),
        min_domains: 1,
        honors_affinity: true,
        honors_taints: false,
        selected: Remembered::default(),
    };
    DEFAULTS.into_iter().map(constraint).collect()
}

fn selector_of_owners(cycle: &Cycle) -> Option<Selector> {
    let (pod, listed) = (&cycle.pod.pod, cycle.listed);
    let (namespace, labels) = (pod.namespace(), pod.metadata.labels.as_ref()?);
    let mut all: Option<Selector> = None;
    let mut add = |one: Selector| all = Some(all.take().map_or_else(|| one.clone(), |known| known.and(one.clone())));
    for service in listed.services.namespace(namespace) {
        let wanted = service.spec.as_ref().and_then(|s| s.selector.as_ref()).filter(|s| !s.is_empty());
        if let Some(one) = wanted.map(Selector::from_labels).filter(|one| one.matches(labels)) {
            add(one);
        }
    }
    let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    match owner.map(|owner| (owner.kind.as_str(), owner.name.as_str())) {
        Some(("ReplicaSet", name)) => {
            listed
                .replica_sets
                .get(namespace, name)
                .into_iter()
                .for_each(|set| add(selector(Some(&set.spec.selector))));
        }
        Some(("StatefulSet", name)) => {
            listed
                .stateful_sets
                .get(namespace, name)
                .into_iter()
                .for_each(|set| add(selector(Some(&set.spec.selector))));
        }
        Some(("ReplicationController", name)) => {
            let found = listed.replication_controllers.get(namespace, name);
            found
                .and_then(|c| c.spec.as_ref()?.selector.as_ref())
                .into_iter()
                .for_each(|s| add(Selector::from_labels(s)));
        }
        _ => {}
    }
    all
}

fn filter(cycle: &Cycle, node: &NodeInfo) -> Result<(), Rejection> {
    let spread = cycle.spread.get_or_init(|| Spread::of(cycle));
    for (constraint, counts) in &spread.hard {
        let Some(value) = node.labels().get(&constraint.key) else {
            return Err(Rejection::final_(Reason::SpreadLabelMissing));
        };
        // Of a node that pods were added to or removed from, the difference.
        let known = cycle.cluster.node(&node.name).filter(|known| !std::ptr::eq(*known, node));
        let change = known
            .filter(|known| constraint.includes(cycle, known))
            .map_or(0, |known| constraint.count(cycle.pod, node) - constraint.count(cycle.pod, known));
        let here = counts.get(value).copied().unwrap_or(0) + change;
        let counted = |(of, n): (&String, &i64)| if of == value { here } else { *n };
        let least = counts.iter().map(counted).min().unwrap_or(0);
        let least = if counts.len() < constraint.min_domains { 0 } else { least };
        let itself = i64::from(constraint.selector.matches_opt(cycle.pod.pod.metadata.labels.as_ref()));
        if here + itself - least > constraint.max_skew {
            return Err(Rejection::resolvable(Reason::Spread));
        }
    }
    Ok(())
}

fn score(cycle: &Cycle, nodes: &[&NodeInfo]) -> Vec<i64> {
    let spread = cycle.spread.get_or_init(|| Spread::of(cycle));
    if spread.soft.is_empty() {
        return vec![0; nodes.len()];
    }
    let has_all = |node: &NodeInfo| spread.soft.iter().all(|c| node.labels().contains_key(&c.key));
    let is_place = |node: &NodeInfo| !spread.is_own || has_all(node);
    let places: Vec<&NodeInfo> = nodes.iter().copied().filter(|node| is_place(node)).collect();
    let mut raw = vec![0.0; nodes.len()];
    for constraint in &spread.soft {
        let counts = counts_for_score(cycle, constraint, &places, is_place);
        let domains = if constraint.key == HOSTNAME { places.len() } else { counts.len() };
        // The more domains there are, the less one pod in one of them matters.
        let weight = ((domains + 2) as f64).ln();
        for (slot, node) in raw.iter_mut().zip(nodes).filter(|(_, node)| is_place(node)) {
            let Some(value) = node.labels().get(&constraint.key) else { continue };
            let here = match constraint.key.as_str() {
                HOSTNAME => constraint.count(cycle.pod, node),
                _ => counts.get(value).copied().unwrap_or(0),
            };
            *slot += here as f64 * weight + (constraint.max_skew - 1) as f64;
        }
    }
    normalized(&raw, nodes, is_place)
}

/// Pods by the values that some place has.
fn counts_for_score(
    cycle: &Cycle,
    constraint: &Constraint,
    places: &[&NodeInfo],
    is_place: impl Fn(&NodeInfo) -> bool,
) -> BTreeMap<String, i64> {
    if constraint.key == HOSTNAME {
        return BTreeMap::new();
    }
    let values: BTreeSet<&String> = places.iter().filter_map(|node| node.labels().get(&constraint.key)).collect();
    let mut counts: BTreeMap<String, i64> = values.into_iter().map(|value| (value.clone(), 0)).collect();
    if counts.is_empty() {
        return counts;
    }
    for node in cycle.cluster.nodes().filter(|node| is_place(node)) {
        let Some(count) = node.labels().get(&constraint.key).and_then(|value| counts.get_mut(value)) else { continue };
        if constraint.includes(cycle, node) {
            *count += constraint.count(cycle.pod, node);
        }
    }
    counts
}

/// The fewest pods near is best; what is no place is worst.
fn normalized(raw: &[f64], nodes: &[&NodeInfo], is_place: impl Fn(&NodeInfo) -> bool) -> Vec<i64> {
    let rounded: Vec<Option<i64>> =
        raw.iter().zip(nodes).map(|(score, node)| is_place(node).then(|| score.round() as i64)).collect();
    let (least, most) = (rounded.iter().flatten().min().copied(), rounded.iter().flatten().max().copied());
    let (least, most) = (least.unwrap_or(0), most.unwrap_or(0));
    let normal = |score: i64| if most == 0 { MAX_SCORE } else { MAX_SCORE * (most + least - score) / most };
    rounded.into_iter().map(|score| score.map_or(0, normal)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use crate::snapshot::Snapshot;
    use crate::testing::{bound, cluster, node, pod_info, unfit};

    fn zones(all: &[(&str, &str)]) -> Snapshot {
        let nodes: Vec<_> =
            all.iter().map(|(name, zone)| node(name, json!({"metadata": {"labels": {"zone": zone}}}))).collect();
        cluster(&nodes)
    }

    fn run(cluster: &mut Snapshot, node: &str, uid: &str) {
        let pod = json!({"metadata": {"uid": uid, "name": uid, "namespace": "d", "labels": {"app": "web"}}, "spec": {"containers": []}});
        cluster.add_pod(node, Arc::new(pod_info(pod)));
    }

    fn pod(constraint: Value) -> Value {
        json!({"metadata": {"uid": "new", "name": "new", "namespace": "d", "labels": {"app": "web"}},
            "spec": {"topologySpreadConstraints": [constraint], "containers": []}})
    }

    fn spread(when: &str, extra: Value) -> Value {
        let mut constraint = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": when,
            "labelSelector": {"matchLabels": {"app": "web"}}});
        constraint.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        pod(constraint)
    }

    #[test]
    fn a_zone_that_has_too_many_takes_no_more() {
        let mut cluster = zones(&[("a", "1"), ("b", "1"), ("c", "2")]);
        run(&mut cluster, "a", "1");
        assert_eq!(bound(&cluster, spread("DoNotSchedule", json!({}))), "c");
        let few = spread("DoNotSchedule", json!({"minDomains": 3}));
        assert_eq!(bound(&cluster, few.clone()), "c");
        run(&mut cluster, "c", "2");
        let text = "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints.";
        assert_eq!(unfit(&cluster, few), text, "with too few zones the fewest pods count as none");
        let elsewhere = spread("DoNotSchedule", json!({"topologyKey": "rack"}));
        let text =
            "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints (missing required label).";
        assert_eq!(unfit(&cluster, elsewhere), text);
    }

    #[test]
    fn without_need_it_only_steers() {
        let mut cluster = zones(&[("a", "1"), ("b", "2")]);
        run(&mut cluster, "a", "1");
        run(&mut cluster, "a", "2");
        assert_eq!(bound(&cluster, spread("ScheduleAnyway", json!({}))), "b");
    }

    #[test]
    fn only_pods_of_the_same_label_values_count() {
        let mut cluster = zones(&[("a", "1"), ("c", "2")]);
        run(&mut cluster, "a", "1");
        let mut other = spread("DoNotSchedule", json!({"matchLabelKeys": ["version"]}));
        other["metadata"]["labels"]["version"] = "2".into();
        other["spec"]["nodeSelector"] = json!({"zone": "1"});
        assert_eq!(bound(&cluster, other), "a");
    }
}
