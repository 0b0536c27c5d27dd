//! NodeName: `spec.nodeName` of a pod that somebody placed by hand.

use orlop_api::pods::node_name;

use crate::cycle::Cycle;
use crate::framework::{Plugin, Reason, Rejection, Wake};
use crate::node::NodeInfo;

pub static PLUGIN: Plugin =
    Plugin { name: "NodeName", filter: Some(filter), wakes_on: &[Wake::NodeAdded], ..Plugin::NONE };

fn filter(cycle: &Cycle, node: &NodeInfo) -> Result<(), Rejection> {
    let pod = cycle.pod;
    match node_name(&pod.pod) {
        Some(wanted) if wanted != node.name => Err(Rejection::final_(Reason::NodeName)),
        _ => Ok(()),
    }
}
