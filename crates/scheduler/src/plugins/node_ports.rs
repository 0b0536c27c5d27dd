//! NodePorts: `hostPort`s of the pod must be free.

use crate::cycle::Cycle;
use crate::framework::{Plugin, Reason, Rejection, Wake};
use crate::node::NodeInfo;

pub static PLUGIN: Plugin =
    Plugin { name: "NodePorts", filter: Some(filter), wakes_on: &[Wake::NodeAdded, Wake::PodRemoved], ..Plugin::NONE };

fn filter(cycle: &Cycle, node: &NodeInfo) -> Result<(), Rejection> {
    let pod = cycle.pod;
    if pod.host_ports.iter().all(|port| node.has_free(port)) {
        return Ok(());
    }
    Err(Rejection::resolvable(Reason::HostPorts))
}
