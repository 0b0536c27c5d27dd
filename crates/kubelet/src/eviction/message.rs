//! Why a pod had to go, in upstream's words.

use super::threshold::{Observations, Starved, Threshold};
use crate::pod::spec::NodePod;
use crate::resources::Amount;
use crate::usage::{ContainerUsage, PodUsage};

pub fn message(
    starved: Starved,
    pod: &NodePod,
    usage: &PodUsage,
    met: &[Threshold],
    observed: &Observations,
) -> String {
    let name = starved.name();
    let mut text = format!("The node was low on resource: {name}. ");
    let first = met.iter().filter(|t| t.signal.starved() == starved).find_map(|t| Some((t, observed.get(&t.signal)?)));
    if let Some((threshold, observation)) = first {
        let quantity = threshold.amount(observation.capacity);
        let available = starved.amount(observation.available);
        text.push_str(&format!("Threshold quantity: {quantity}, available: {available}. "));
    }
    if starved == Starved::Memory
        && let Some(request) = Amount::find(pod.spec().resources.as_ref().and_then(|r| r.requests.as_ref()), name)
    {
        let used = Amount::bytes(usage.working_set());
        text.push_str(&exceeds(&format!("Pod {}", pod.name()), &used, &request, name));
    }
    for container in &usage.containers {
        let Some((_, spec)) = pod.container(&container.name) else { continue };
        let Some(used) = used(starved, container) else { continue };
        let request = Amount::of(spec.resources.as_ref().and_then(|r| r.requests.as_ref()), name);
        if used > request {
            text.push_str(&exceeds(&format!("Container {}", container.name), &used, &request, name));
        }
    }
    text
}

fn exceeds(who: &str, used: &Amount, request: &Amount, resource: &str) -> String {
    format!("{who} was using {used}, request is {request}, has larger consumption of {resource}. ")
}

fn used(starved: Starved, container: &ContainerUsage) -> Option<Amount> {
    let bytes = match starved {
        Starved::Memory => container.stats.memory_working_set_bytes,
        Starved::Disk => container.disk().bytes,
        Starved::Inodes | Starved::Pids => return None,
    };
    Some(Amount::bytes(i64::try_from(bytes).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use orlop_runtime::Stats;
    use serde_json::json;

    use super::super::threshold::{Observation, Signal};
    use super::*;
    use crate::testing::pod;

    #[test]
    fn names_the_shortage_and_those_who_use_too_much() {
        let pod = pod(json!({"containers": [
            {"name": "a", "resources": {"requests": {"memory": "64Mi"}}}, {"name": "b"}]}));
        let container = |name: &str, bytes: u64| ContainerUsage {
            name: name.into(),
            stats: Stats { memory_working_set_bytes: bytes, ..Stats::default() },
            ..ContainerUsage::default()
        };
        let usage =
            PodUsage { containers: vec![container("a", 32 << 20), container("b", 80 << 20)], ..PodUsage::default() };
        let met = [Threshold::parse("memory.available", "100Mi").unwrap()];
        let observed = [(Signal::MemoryAvailable, Observation { capacity: 1 << 30, available: 50 << 20 })].into();
        assert_eq!(
            message(Starved::Memory, &pod, &usage, &met, &observed),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. \
             Container b was using 80Mi, request is 0, has larger consumption of memory. "
        );
    }
}
