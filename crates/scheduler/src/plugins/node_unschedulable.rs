//! NodeUnschedulable: cordoned nodes, unless the pod tolerates their taint.

use orlop_api::pods::tolerates;
use orlop_api::typed::k8s_openapi::api::core::v1::Taint;

use crate::cycle::Cycle;
use crate::framework::{Plugin, Reason, Rejection, Wake};
use crate::node::NodeInfo;

pub static PLUGIN: Plugin = Plugin {
    name: "NodeUnschedulable",
    filter: Some(filter),
    wakes_on: &[Wake::NodeAdded, Wake::NodeTaintsChanged],
    ..Plugin::NONE
};

fn filter(cycle: &Cycle, node: &NodeInfo) -> Result<(), Rejection> {
    let pod = cycle.pod;
    if !node.is_unschedulable() {
        return Ok(());
    }
    let cordon =
        Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() };
    if pod.tolerations().iter().any(|t| tolerates(t, &cordon)) {
        return Ok(());
    }
    Err(Rejection::final_(Reason::Unschedulable))
}
