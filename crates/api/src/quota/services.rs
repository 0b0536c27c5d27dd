//! Services: their number, the ports they take on nodes, the balancers they ask for.

use serde_json::Value;

use super::{count, one};
use crate::kinds::read::Read;
use crate::quantity::Quantity;
use crate::resource_list::ResourceList;

pub fn tracks(name: &str) -> bool {
    matches!(name, "services" | "services.nodeports" | "services.loadbalancers")
}

/// By what the Service asks for: its ports may not be given yet.
pub fn usage(service: &Value) -> ResourceList {
    let ports = service.list("spec.ports");
    let balanced = service.text("spec.type") == "LoadBalancer";
    let node_ports = match service.text("spec.type") {
        "NodePort" => ports.len(),
        "LoadBalancer" if service.at("spec.allocateLoadBalancerNodePorts") == false => {
            ports.iter().filter(|port| port.int("nodePort") != 0).count()
        }
        "LoadBalancer" => ports.len(),
        _ => 0,
    };
    let balancers = if balanced { one() } else { Quantity::ZERO };
    let named = [("services", one()), ("services.nodeports", count(node_ports)), ("services.loadbalancers", balancers)];
    named.into_iter().map(|(name, amount)| (name.to_owned(), amount)).collect()
}
