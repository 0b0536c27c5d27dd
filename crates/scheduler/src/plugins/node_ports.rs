//! NodePorts: `hostPort`s of the pod must be free.

use crate::framework::{Plugin, Reason, Rejection, Wake};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub static PLUGIN: Plugin =
    Plugin { name: "NodePorts", filter: Some(filter), wakes_on: &[Wake::NodeAdded, Wake::PodRemoved], ..Plugin::NONE };

fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    if pod.host_ports.iter().all(|port| node.has_free(port)) {
        return Ok(());
    }
    Err(Rejection::resolvable(Reason::HostPorts))
}
