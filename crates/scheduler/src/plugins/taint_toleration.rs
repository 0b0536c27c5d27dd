//! TaintToleration: taints keep pods away, or make a node the lesser choice.

use orlop_api::pods::tolerates;
use orlop_api::typed::k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::framework::{Normalize, Plugin, Reason, Rejection, Score, Wake};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

pub static PLUGIN: Plugin = Plugin {
    name: "TaintToleration",
    filter: Some(filter),
    score: Some(Score { weight: 3, of: score, normalize: Normalize::Reverse }),
    wakes_on: &[Wake::NodeAdded, Wake::NodeTaintsChanged],
};

fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let repels = |t: &&Taint| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute");
    let untolerated =
        node.taints().iter().filter(repels).any(|taint| !pod.tolerations().iter().any(|t| tolerates(t, taint)));
    if untolerated { Err(Rejection::final_(Reason::UntoleratedTaint)) } else { Ok(()) }
}

/// Counts what the pod would rather avoid.
fn score(pod: &PodInfo, node: &NodeInfo, _: &Snapshot) -> i64 {
    let soft = |t: &Toleration| matches!(t.effect.as_deref(), None | Some("" | "PreferNoSchedule"));
    let tolerations: Vec<&Toleration> = pod.tolerations().iter().filter(|t| soft(t)).collect();
    let avoided = node.taints().iter().filter(|t| t.effect == "PreferNoSchedule");
    let count = avoided.filter(|taint| !tolerations.iter().any(|t| tolerates(t, taint))).count();
    i64::try_from(count).unwrap_or(i64::MAX)
}
