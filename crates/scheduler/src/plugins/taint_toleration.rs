//! TaintToleration: taints keep pods away, or make a node the lesser choice.

use orlop_api::pods::tolerates;
use orlop_api::typed::k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::cycle::Cycle;
use crate::framework::{Plugin, Reason, Rejection, Score, Wake, reversed};
use crate::node::NodeInfo;

pub static PLUGIN: Plugin = Plugin {
    name: "TaintToleration",
    filter: Some(filter),
    score: Some(Score { weight: 3, of: score }),
    wakes_on: &[Wake::NodeAdded, Wake::NodeTaintsChanged],
    ..Plugin::NONE
};

fn filter(cycle: &Cycle, node: &NodeInfo) -> Result<(), Rejection> {
    let pod = cycle.pod;
    let repels = |t: &&Taint| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute");
    let untolerated =
        node.taints().iter().filter(repels).any(|taint| !pod.tolerations().iter().any(|t| tolerates(t, taint)));
    if untolerated { Err(Rejection::final_(Reason::UntoleratedTaint)) } else { Ok(()) }
}

/// Counts what the pod would rather avoid.
fn score(cycle: &Cycle, nodes: &[&NodeInfo]) -> Vec<i64> {
    let soft = |t: &&Toleration| matches!(t.effect.as_deref(), None | Some("" | "PreferNoSchedule"));
    let tolerations: Vec<&Toleration> = cycle.pod.tolerations().iter().filter(soft).collect();
    let avoided = |node: &&NodeInfo| {
        let taints = node.taints().iter().filter(|t| t.effect == "PreferNoSchedule");
        taints.filter(|taint| !tolerations.iter().any(|t| tolerates(t, taint))).count() as i64
    };
    reversed(nodes.iter().map(avoided).collect())
}
