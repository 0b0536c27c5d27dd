//! Is there enough of every resource?

use super::{NodeView, Verdict, rejection};
use crate::pod::spec::NodePod;
use crate::resources::requests::pod_requests;
use crate::resources::{Amount, CPU, EPHEMERAL_STORAGE, HUGEPAGES_PREFIX, MEMORY, PODS, ResourceList};

pub fn check(pod: &NodePod, others: &[&NodePod], node: &NodeView) -> Result<(), Verdict> {
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    short(PODS, 1, count, amount(&node.allocatable, PODS))?;
    let requests = pod_requests(pod.spec());
    let taken: Vec<ResourceList> = others.iter().map(|other| pod_requests(other.spec())).collect();
    for name in names(&requests) {
        // Cluster-level resources are not this node's to count.
        if !is_native(name) && !node.allocatable.contains_key(name) {
            continue;
        }
        let used = taken.iter().map(|list| amount(list, name)).sum();
        let requested = amount(&requests, name);
        if requested > 0 {
            short(name, requested, used, amount(&node.allocatable, name))?;
        }
    }
    Ok(())
}

/// Can a running pod be given what it now asks for? `Err`: `Infeasible` or `Deferred`, and why.
pub fn resize_fits(
    pod: &NodePod,
    others: &[&NodePod],
    allocatable: &ResourceList,
) -> Result<(), (&'static str, String)> {
    let requests = pod_requests(pod.spec());
    for name in [CPU, MEMORY] {
        let (requested, capacity) = (amount(&requests, name), amount(allocatable, name));
        if requested > capacity {
            let why = format!("Node didn't have enough capacity: {name}, requested: {requested}, capacity: {capacity}");
            return Err(("Infeasible", why));
        }
        let used: i64 = others.iter().map(|other| amount(&pod_requests(other.spec()), name)).sum();
        if requested > capacity - used {
            return Err(("Deferred", insufficient(name, requested, used, capacity)));
        }
    }
    Ok(())
}

/// CPU and memory first: their lack is told before that of others.
fn names(requests: &ResourceList) -> impl Iterator<Item = &str> {
    let first = [CPU, MEMORY, EPHEMERAL_STORAGE];
    let rest = requests.keys().map(String::as_str).filter(move |name| !first.contains(name));
    first.into_iter().filter(|name| requests.contains_key(*name)).chain(rest)
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.starts_with(HUGEPAGES_PREFIX)
}

/// CPU in thousandths, the rest in units, as upstream's numbers are.
fn amount(list: &ResourceList, name: &str) -> i64 {
    let amount = Amount::of(Some(list), name);
    if name == CPU { amount.milli_value() } else { amount.value() }
}

fn short(name: &str, requested: i64, used: i64, capacity: i64) -> Result<(), Verdict> {
    if requested <= capacity - used {
        return Ok(());
    }
    Err(rejection(&format!("OutOf{name}"), insufficient(name, requested, used, capacity)))
}

fn insufficient(name: &str, requested: i64, used: i64, capacity: i64) -> String {
    format!("Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}")
}
