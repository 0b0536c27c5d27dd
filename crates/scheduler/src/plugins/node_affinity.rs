//! NodeAffinity: `spec.nodeSelector` and `spec.affinity.nodeAffinity`.

use crate::framework::{Normalize, Plugin, Reason, Rejection, Score, Wake};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

pub static PLUGIN: Plugin = Plugin {
    name: "NodeAffinity",
    filter: Some(filter),
    score: Some(Score { weight: 2, of: score, normalize: Normalize::Scale }),
    wakes_on: &[Wake::NodeAdded, Wake::NodeLabelsChanged],
};

fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let labels = node.labels();
    let selected = pod.spec().node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let required = pod.required_terms.as_ref();
    if selected && required.is_none_or(|terms| terms.iter().any(|term| term.matches(&node.name, labels))) {
        return Ok(());
    }
    Err(Rejection::final_(Reason::NodeAffinity))
}

fn score(pod: &PodInfo, node: &NodeInfo, _: &Snapshot) -> i64 {
    let liked = pod.preferred_terms.iter().filter(|(_, term)| term.matches(&node.name, node.labels()));
    liked.map(|(weight, _)| i64::from(*weight)).sum()
}
