//! Are the host ports free?

use super::{Verdict, predicate};
use crate::pod::spec::{NodePod, is_sidecar};

/// Protocol, address, port.
type HostPort<'a> = (&'a str, &'a str, i32);

pub fn check(pod: &NodePod, others: &[&NodePod]) -> Result<(), Verdict> {
    let wanted = host_ports(pod);
    let taken: Vec<HostPort<'_>> = others.iter().flat_map(|other| host_ports(other)).collect();
    if wanted.iter().any(|a| taken.iter().any(|b| conflict(a, b))) {
        return Err(predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports"));
    }
    Ok(())
}

fn host_ports(pod: &NodePod) -> Vec<HostPort<'_>> {
    let sidecars = pod.init_containers().iter().filter(|c| is_sidecar(c));
    let ports = pod.main_containers().iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let host = ports.filter_map(|port| {
        let number = port.host_port.filter(|p| *p > 0)?;
        let ip = port.host_ip.as_deref().filter(|ip| !ip.is_empty()).unwrap_or("0.0.0.0");
        Some((port.protocol.as_deref().unwrap_or("TCP"), ip, number))
    });
    host.collect()
}

fn conflict(a: &HostPort<'_>, b: &HostPort<'_>) -> bool {
    let any = |ip: &str| ip == "0.0.0.0";
    a.0 == b.0 && a.2 == b.2 && (a.1 == b.1 || any(a.1) || any(b.1))
}
