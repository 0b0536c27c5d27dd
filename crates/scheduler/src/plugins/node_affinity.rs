//! NodeAffinity: `spec.nodeSelector` and `spec.affinity.nodeAffinity`.

use crate::cycle::Cycle;
use crate::framework::{Plugin, Reason, Rejection, Score, Wake, scaled};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub static PLUGIN: Plugin = Plugin {
    name: "NodeAffinity",
    filter: Some(filter),
    score: Some(Score { weight: 2, of: score }),
    wakes_on: &[Wake::NodeAdded, Wake::NodeLabelsChanged],
    ..Plugin::NONE
};

fn filter(cycle: &Cycle, node: &NodeInfo) -> Result<(), Rejection> {
    if matches(cycle.pod, node) { Ok(()) } else { Err(Rejection::final_(Reason::NodeAffinity)) }
}

/// The node is one that the pod may choose from.
pub fn matches(pod: &PodInfo, node: &NodeInfo) -> bool {
    let labels = node.labels();
    let selected = pod.spec().node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let required = pod.required_terms.as_ref();
    selected && required.is_none_or(|terms| terms.iter().any(|term| term.matches(&node.name, labels)))
}

fn score(cycle: &Cycle, nodes: &[&NodeInfo]) -> Vec<i64> {
    let liked = |node: &&NodeInfo| {
        let terms = cycle.pod.preferred_terms.iter().filter(|(_, term)| term.matches(&node.name, node.labels()));
        terms.map(|(weight, _)| i64::from(*weight)).sum()
    };
    scaled(nodes.iter().map(liked).collect())
}
