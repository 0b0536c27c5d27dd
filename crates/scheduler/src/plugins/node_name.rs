//! NodeName: `spec.nodeName` of a pod that somebody placed by hand.

use crate::framework::{Plugin, Reason, Rejection, Wake};
use crate::node::NodeInfo;
use crate::pod::{PodInfo, bound_node};

pub static PLUGIN: Plugin =
    Plugin { name: "NodeName", filter: Some(filter), wakes_on: &[Wake::NodeAdded], ..Plugin::NONE };

fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    match bound_node(&pod.pod) {
        Some(wanted) if wanted != node.name => Err(Rejection::final_(Reason::NodeName)),
        _ => Ok(()),
    }
}
