//! InterPodAffinity: near some pods, apart from others; the wishes of pods that run already count too.

use std::collections::{BTreeMap, HashMap};

use crate::affinity::Term;
use crate::cycle::Cycle;
use crate::framework::{MAX_SCORE, Plugin, Reason, Rejection, Score, Wake};
use crate::kin::{Kin, Remembered};
use crate::node::NodeInfo;

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
    /// Counts at the place of a node, if it has that label.
    fn add(&mut self, node: &NodeInfo, key: &str, number: i64) {
        let Some(value) = node.labels().get(key) else { return };
        if !self.0.contains_key(key) {
            self.0.insert(key.to_owned(), HashMap::new());
        }
        let Some(values) = self.0.get_mut(key) else { return };
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

/// What the new pod and those of one kin make of each other, as label keys of the places where it matters.
#[derive(Default)]
struct Regard {
    shunning: Vec<String>,
    wanted: Vec<String>,
    shunned: Vec<String>,
}

impl Regard {
    fn of(cycle: &Cycle, kin: &Kin) -> Self {
        let (mine, namespaces) = (&cycle.pod.kin, &cycle.listed.namespaces);
        let keys = |terms: &[Term], of: &Kin| -> Vec<String> {
            terms.iter().filter(|term| term.matches(of, namespaces)).map(|term| term.topology_key.clone()).collect()
        };
        let wanted = keys(&mine.affinity.required, kin);
        Self {
            shunning: keys(&kin.affinity.required_anti, mine),
            // All terms hold, or none counts.
            wanted: if wanted.len() == mine.affinity.required.len() { wanted } else { Vec::new() },
            shunned: keys(&mine.affinity.required_anti, kin),
        }
    }
}

impl Meetings {
    fn of(cycle: &Cycle) -> Self {
        let (mut all, regards) = (Self::default(), Remembered::default());
        cycle.cluster.nodes().for_each(|node| all.add(cycle, node, 1, &regards));
        all
    }

    /// Adds the pods of one node, or takes them away.
    fn add(&mut self, cycle: &Cycle, node: &NodeInfo, sign: i64, regards: &Remembered<Regard>) {
        for (kin, count) in node.census.iter() {
            let regard = regards.get(kin, |kin| Regard::of(cycle, kin));
            let add = |counts: &mut Counts, keys: &[String]| {
                keys.iter().for_each(|key| counts.add(node, key, sign * count));
            };
            add(&mut self.shunning, &regard.shunning);
            add(&mut self.wanted, &regard.wanted);
            add(&mut self.shunned, &regard.shunned);
        }
    }

    /// With `node` in the place of the one of its name: one that pods were added to or removed from.
    fn with(&self, cycle: &Cycle, node: &NodeInfo) -> Option<Self> {
        let known = cycle.cluster.node(&node.name).filter(|known| !std::ptr::eq(*known, node))?;
        let mut changed = self.clone();
        let regards = Remembered::default();
        changed.add(cycle, known, -1, &regards);
        changed.add(cycle, node, 1, &regards);
        Some(changed)
    }
}

fn filter(cycle: &Cycle, node: &NodeInfo) -> Result<(), Rejection> {
    let all = cycle.meetings.get_or_init(|| Meetings::of(cycle));
    let changed = all.with(cycle, node);
    let meetings = changed.as_ref().unwrap_or(all);
    let wishes = &cycle.pod.kin.affinity;
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
    let required = &cycle.pod.kin.affinity.required;
    let counts: Option<Vec<i64>> = required.iter().map(count).collect();
    let Some(counts) = counts else { return false };
    if counts.iter().all(|n| *n > 0) {
        return true;
    }
    // The first of a group that wants to be together may go anywhere.
    meetings.wanted.are_zero() && required.iter().all(|term| term.matches(&cycle.pod.kin, &cycle.listed.namespaces))
}

fn score(cycle: &Cycle, nodes: &[&NodeInfo]) -> Vec<i64> {
    let (mut liking, tastes) = (Counts::default(), Remembered::default());
    for node in cycle.cluster.nodes() {
        for (kin, count) in node.census.iter() {
            for (key, weight) in tastes.get(kin, |kin| taste(cycle, kin)).iter() {
                liking.add(node, key, weight * count);
            }
        }
    }
    let scores: Vec<i64> = nodes.iter().map(|node| liking.around(node).sum()).collect();
    let (least, most) = (scores.iter().min().copied().unwrap_or(0), scores.iter().max().copied().unwrap_or(0));
    let normal = |score: i64| if most > least { MAX_SCORE * (score - least) / (most - least) } else { 0 };
    scores.into_iter().map(normal).collect()
}

/// What one running pod makes of the places near it: label keys and weights.
fn taste(cycle: &Cycle, kin: &Kin) -> Vec<(String, i64)> {
    let (pod, namespaces) = (&cycle.pod.kin, &cycle.listed.namespaces);
    let (mine, theirs) = (&pod.affinity, &kin.affinity);
    let mut all = Vec::new();
    let mut add = |term: &Term, of: &Kin, weight: i64| {
        if term.matches(of, namespaces) {
            all.push((term.topology_key.clone(), weight));
        }
    };
    mine.preferred.iter().for_each(|(weight, term)| add(term, kin, *weight));
    mine.preferred_anti.iter().for_each(|(weight, term)| add(term, kin, -weight));
    theirs.required.iter().for_each(|term| add(term, pod, SYMMETRY_WEIGHT));
    theirs.preferred.iter().for_each(|(weight, term)| add(term, pod, *weight));
    theirs.preferred_anti.iter().for_each(|(weight, term)| add(term, pod, -weight));
    all
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
