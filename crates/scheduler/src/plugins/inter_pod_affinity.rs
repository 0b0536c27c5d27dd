//! InterPodAffinity: near some pods, apart from others; the wishes of pods that run already count too.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::affinity::Term;
use crate::cycle::Cycle;
use crate::framework::{MAX_SCORE, Plugin, Reason, Rejection, Score, Wake};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub static PLUGIN: Plugin = Plugin {
    name: "InterPodAffinity",
    filter: Some(filter),
    score: Some(Score { weight: 2, of: score }),
    wakes_on: &[Wake::NodeAdded, Wake::NodeLabelsChanged, Wake::PodAdded, Wake::PodRemoved],
    ..Plugin::NONE
};

/// What a running pod's required affinity to the new one is worth (`hardPodAffinityWeight`).
const SYMMETRY_WEIGHT: i64 = 1;

/// Pods by where they are: how many there are under each value of a label. One decision asks for hundreds of nodes
/// among thousands of values, and nobody asks in what order they come.
#[derive(Clone, Default)]
struct Counts(BTreeMap<String, HashMap<String, i64>>);

impl Counts {
    /// Counts at the place of a node, if it is one as the term sees it.
    fn add(&mut self, node: &NodeInfo, term: &Term, number: i64) {
        let Some(value) = node.labels().get(&term.topology_key) else { return };
        if !self.0.contains_key(&term.topology_key) {
            self.0.insert(term.topology_key.clone(), HashMap::new());
        }
        let Some(values) = self.0.get_mut(&term.topology_key) else { return };
        match values.get_mut(value) {
            Some(count) => *count += number,
            None => drop(values.insert(value.clone(), number)),
        }
    }

    /// At the node's place as the term sees it; `None` if it is at none.
    fn at(&self, node: &NodeInfo, term: &Term) -> Option<i64> {
        let value = node.labels().get(&term.topology_key)?;
        Some(self.0.get(&term.topology_key).and_then(|values| values.get(value)).copied().unwrap_or(0))
    }

    /// At every place that the node is at.
    fn around<'a>(&'a self, node: &'a NodeInfo) -> impl Iterator<Item = i64> + 'a {
        self.0.iter().filter_map(|(key, values)| values.get(node.labels().get(key)?).copied())
    }

    fn are_zero(&self) -> bool {
        self.0.values().flat_map(HashMap::values).all(|count| *count <= 0)
    }
}

/// Who meets whom, where.
#[derive(Clone, Default)]
pub struct Meetings {
    /// Running pods that will not have the new one near.
    shunning: Counts,
    /// Running pods that the new one wants to be near, all its terms holding.
    wanted: Counts,
    /// Running pods that the new one will not have near.
    shunned: Counts,
}

impl Meetings {
    fn of(cycle: &Cycle) -> Self {
        let mut all = Self::default();
        cycle.cluster.nodes().for_each(|node| all.add(cycle, node, 1));
        all
    }

    /// Adds the pods of one node, or takes them away.
    fn add(&mut self, cycle: &Cycle, node: &NodeInfo, sign: i64) {
        let (wishes, namespaces) = (&cycle.pod.affinity, &cycle.listed.namespaces);
        let add = |counts: &mut Counts, term: &Term| counts.add(node, term, sign);
        for other in node.opinionated.values() {
            for term in &other.affinity.required_anti {
                if term.matches(&cycle.pod.pod, namespaces) {
                    add(&mut self.shunning, term);
                }
            }
        }
        if wishes.required.is_empty() && wishes.required_anti.is_empty() {
            return;
        }
        for other in node.pods.values() {
            let terms = &wishes.required;
            if !terms.is_empty() && terms.iter().all(|term| term.matches(&other.pod, namespaces)) {
                terms.iter().for_each(|term| add(&mut self.wanted, term));
            }
            for term in wishes.required_anti.iter().filter(|term| term.matches(&other.pod, namespaces)) {
                add(&mut self.shunned, term);
            }
        }
    }

    /// With `node` in the place of the one of its name: one that pods were added to or removed from.
    fn with(&self, cycle: &Cycle, node: &NodeInfo) -> Option<Self> {
        let known = cycle.cluster.node(&node.name).filter(|known| !std::ptr::eq(*known, node))?;
        let mut changed = self.clone();
        changed.add(cycle, known, -1);
        changed.add(cycle, node, 1);
        Some(changed)
    }
}

fn filter(cycle: &Cycle, node: &NodeInfo) -> Result<(), Rejection> {
    let all = cycle.meetings.get_or_init(|| Meetings::of(cycle));
    let changed = all.with(cycle, node);
    let meetings = changed.as_ref().unwrap_or(all);
    let wishes = &cycle.pod.affinity;
    if !is_near_wanted(cycle, meetings, |term| meetings.wanted.at(node, term)) {
        return Err(Rejection::final_(Reason::PodAffinity));
    }
    if wishes.required_anti.iter().any(|term| meetings.shunned.at(node, term).is_some_and(|n| n > 0)) {
        return Err(Rejection::resolvable(Reason::PodAntiAffinity));
    }
    if meetings.shunning.around(node).any(|n| n > 0) {
        return Err(Rejection::resolvable(Reason::ExistingAntiAffinity));
    }
    Ok(())
}

fn is_near_wanted(cycle: &Cycle, meetings: &Meetings, count: impl Fn(&Term) -> Option<i64>) -> bool {
    let required = &cycle.pod.affinity.required;
    let counts: Option<Vec<i64>> = required.iter().map(count).collect();
    let Some(counts) = counts else { return false };
    if counts.iter().all(|n| *n > 0) {
        return true;
    }
    // The first of a group that wants to be together may go anywhere.
    meetings.wanted.are_zero() && required.iter().all(|term| term.matches(&cycle.pod.pod, &cycle.listed.namespaces))
}

fn score(cycle: &Cycle, nodes: &[&NodeInfo]) -> Vec<i64> {
    let wishes = &cycle.pod.affinity;
    let looks_at_all = !wishes.preferred.is_empty() || !wishes.preferred_anti.is_empty();
    let mut liking = Counts::default();
    for node in cycle.cluster.nodes() {
        let others: &BTreeMap<String, Arc<PodInfo>> = if looks_at_all { &node.pods } else { &node.opinionated };
        others.values().for_each(|other| like(cycle, node, other, &mut liking));
    }
    let scores: Vec<i64> = nodes.iter().map(|node| liking.around(node).sum()).collect();
    let (least, most) = (scores.iter().min().copied().unwrap_or(0), scores.iter().max().copied().unwrap_or(0));
    let normal = |score: i64| if most > least { MAX_SCORE * (score - least) / (most - least) } else { 0 };
    scores.into_iter().map(normal).collect()
}

/// What one running pod makes of the places near it.
fn like(cycle: &Cycle, node: &NodeInfo, other: &PodInfo, liking: &mut Counts) {
    let namespaces = &cycle.listed.namespaces;
    let (mine, theirs) = (&cycle.pod.affinity, &other.affinity);
    let mut add = |term: &Term, weight: i64| liking.add(node, term, weight);
    let matches_other = |term: &Term| term.matches(&other.pod, namespaces);
    let matches_pod = |term: &Term| term.matches(&cycle.pod.pod, namespaces);
    mine.preferred.iter().filter(|(_, term)| matches_other(term)).for_each(|(weight, term)| add(term, *weight));
    mine.preferred_anti.iter().filter(|(_, term)| matches_other(term)).for_each(|(weight, term)| add(term, -weight));
    theirs.required.iter().filter(|term| matches_pod(term)).for_each(|term| add(term, SYMMETRY_WEIGHT));
    theirs.preferred.iter().filter(|(_, term)| matches_pod(term)).for_each(|(weight, term)| add(term, *weight));
    theirs.preferred_anti.iter().filter(|(_, term)| matches_pod(term)).for_each(|(weight, term)| add(term, -weight));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{bound, cluster, node, pod_info, unfit};

    fn zone(name: &str, zone: &str) -> orlop_api::typed::kinds::Node {
        node(name, json!({"metadata": {"labels": {"zone": zone}}}))
    }

    fn running(uid: &str, app: &str, affinity: Value) -> std::sync::Arc<crate::pod::PodInfo> {
        std::sync::Arc::new(pod_info(
            json!({"metadata": {"uid": uid, "name": uid, "namespace": "d", "labels": {"app": app}},
            "spec": {"affinity": affinity, "containers": []}}),
        ))
    }

    fn term(app: &str) -> Value {
        json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "zone"})
    }

    fn pod(app: &str, affinity: Value) -> Value {
        json!({"metadata": {"uid": "new", "name": "new", "namespace": "d", "labels": {"app": app}},
            "spec": {"affinity": affinity, "containers": []}})
    }

    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

    #[test]
    fn near_and_apart() {
        let mut cluster = cluster(&[zone("a", "1"), zone("b", "1"), zone("c", "2")]);
        cluster.add_pod("a", running("web-1", "web", json!({})));
        let near = json!({"podAffinity": {REQUIRED: [term("web")]}});
        assert_ne!(bound(&cluster, pod("db", near)), "c");
        let apart = json!({"podAntiAffinity": {REQUIRED: [term("web")]}});
        assert_eq!(bound(&cluster, pod("db", apart)), "c");
        let far = json!({"podAffinity": {REQUIRED: [term("nobody")]}});
        let text = "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.";
        assert_eq!(unfit(&cluster, pod("db", far)), text);
        let first = json!({"podAffinity": {REQUIRED: [term("db")]}});
        bound(&cluster, pod("db", first));
    }

    #[test]
    fn pods_that_run_are_heard_too() {
        let mut cluster = cluster(&[zone("a", "1"), zone("b", "1"), zone("c", "2")]);
        cluster.add_pod("a", running("loner", "x", json!({"podAntiAffinity": {REQUIRED: [term("db")]}})));
        assert_eq!(bound(&cluster, pod("db", json!({}))), "c");
        cluster.add_pod("c", running("loner-2", "x", json!({"podAntiAffinity": {REQUIRED: [term("db")]}})));
        let text = "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules.";
        assert_eq!(unfit(&cluster, pod("db", json!({}))), text);
    }

    #[test]
    fn wishes_that_are_not_binding_steer() {
        let mut cluster = cluster(&[zone("a", "1"), zone("b", "2"), zone("c", "3")]);
        cluster.add_pod("b", running("web-1", "web", json!({})));
        let near = json!({"podAffinity": {PREFERRED: [{"weight": 100, "podAffinityTerm": term("web")}]}});
        assert_eq!(bound(&cluster, pod("db", near)), "b");
        let apart = json!({"podAntiAffinity": {PREFERRED: [{"weight": 100, "podAffinityTerm": term("web")}]}});
        assert_ne!(bound(&cluster, pod("db", apart)), "b");
    }
}
