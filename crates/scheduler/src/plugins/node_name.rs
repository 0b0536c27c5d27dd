//! NodeName: `spec.nodeName` of a pod that somebody placed by hand.

use orlop_api::pods::node_name;

use crate::framework::{Plugin, Reason, Rejection, Wake};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub static PLUGIN: Plugin =
    Plugin { name: "NodeName", filter: Some(filter), wakes_on: &[Wake::NodeAdded], ..Plugin::NONE };

fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    match node_name(&pod.pod) {
        Some(wanted) if wanted != node.name => Err(Rejection::final_(Reason::NodeName)),
        _ => Ok(()),
    }
}
