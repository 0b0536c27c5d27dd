//! Who dies first when memory runs out (`pkg/kubelet/qos`).

use super::qos::{QosClass, qos_class};
use super::{Amount, MEMORY};
use crate::corev1::{Container, PodSpec};
use crate::pod::spec::is_sidecar;

const GUARANTEED: i32 = -997;
const BEST_EFFORT: i32 = 1000;
/// `system-node-critical`: as guaranteed, whatever the class.
const NODE_CRITICAL_PRIORITY: i32 = 2_000_001_000;

/// A burstable container that asks for 10 % of memory gets 900, so that going over its request
/// makes it the prime target.
pub fn oom_score_adj(spec: &PodSpec, container: &Container, memory_capacity: i64) -> i32 {
    if spec.priority == Some(NODE_CRITICAL_PRIORITY) {
        return GUARANTEED;
    }
    match qos_class(spec) {
        QosClass::Guaranteed => GUARANTEED,
        QosClass::BestEffort => BEST_EFFORT,
        QosClass::Burstable => burstable(spec, container, memory_capacity.max(1)),
    }
}

fn burstable(spec: &PodSpec, container: &Container, capacity: i64) -> i32 {
    let spare = unassigned_per_container(spec);
    let score = |request: i64| 1000 - 1000_i64.saturating_mul(request + spare) / capacity;
    let mut adj = score(memory_request(container));
    if is_sidecar(container) {
        // A sidecar dies no earlier than the containers it serves.
        let least = spec.containers.iter().map(memory_request).min().unwrap_or(0);
        adj = adj.min(score(least));
    }
    // Stay above guaranteed pods and below best-effort ones.
    let floor = i64::from(1000 + GUARANTEED);
    let adj = adj.max(floor);
    i32::try_from(if adj == i64::from(BEST_EFFORT) { adj - 1 } else { adj }).unwrap_or(BEST_EFFORT - 1)
}

/// What the pod asks for beyond its containers, shared out evenly (KEP-2837).
fn unassigned_per_container(spec: &PodSpec) -> i64 {
    let Some(total) = Amount::find(spec.resources.as_ref().and_then(|r| r.requests.as_ref()), MEMORY) else { return 0 };
    let sidecars = spec.init_containers.iter().flatten().filter(|c| is_sidecar(c));
    let (mut assigned, mut count) = (0, 0);
    for container in sidecars.chain(&spec.containers) {
        assigned += memory_request(container);
        count += 1;
    }
    (total.value() - assigned).max(0) / count.max(1)
}

fn memory_request(container: &Container) -> i64 {
    Amount::of(container.resources.as_ref().and_then(|r| r.requests.as_ref()), MEMORY).value()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::pod;

    #[test]
    fn scores() {
        let guaranteed = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}});
        for (spec, adj) in [
            (json!({"containers": [{"name": "a"}]}), 1000),
            (json!({"containers": [{"name": "a", "resources": guaranteed}]}), -997),
            (json!({"priority": 2_000_001_000, "containers": [{"name": "a"}]}), -997),
            (json!({"containers": [{"name": "a", "resources": {"requests": {"memory": "1Gi"}}}]}), 900),
            (json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}]}), 999),
            (json!({"containers": [{"name": "a", "resources": {"requests": {"memory": "20Gi"}}}]}), 3),
        ] {
            let pod = pod(spec);
            assert_eq!(oom_score_adj(pod.spec(), &pod.spec().containers[0], 10 << 30), adj, "{:?}", pod.spec());
        }
    }
}
