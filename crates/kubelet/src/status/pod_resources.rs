//! Pod-level `resources` and `allocatedResources` (KEP-5419).

use super::StatusInput;
use super::phase::Phase;
use crate::corev1::{PodStatus, ResourceRequirements};
use crate::resources::cgroup::pod_resources;
use crate::resources::requests::{pod_limits, pod_requests};
use crate::resources::{Amount, CPU, MEMORY};

/// Below this many milli-CPU the kernel cannot tell requests apart (`MinShares`).
const MIN_MILLI_CPU: i64 = 2;

pub fn fill(input: &StatusInput<'_>, status: &mut PodStatus) {
    let spec = input.pod.spec();
    let requests = pod_requests(spec);
    let mut resources = spec.resources.clone().unwrap_or_default();
    if Phase::parse(input.pod.api_status().phase.as_deref()) == Some(Phase::Running) {
        in_effect(input, &requests, &mut resources);
    } else {
        resources.limits = Some(pod_limits(spec)).filter(|l| !l.is_empty());
        resources.requests = Some(requests.clone()).filter(|r| !r.is_empty());
    }
    status.resources = Some(resources);
    status.allocated_resources = (!requests.is_empty()).then_some(requests);
}

/// What the pod's cgroup holds.
fn in_effect(input: &StatusInput<'_>, requests: &crate::resources::ResourceList, resources: &mut ResourceRequirements) {
    let held = pod_resources(input.pod.spec(), None);
    let mut set_requests = resources.requests.take().unwrap_or_default();
    for name in [CPU, MEMORY] {
        let Some(amount) = Amount::find(Some(requests), name) else { continue };
        let visible = name != CPU || amount.milli_value() > MIN_MILLI_CPU;
        if visible {
            set_requests.entry(name.to_owned()).or_insert_with(|| amount.to_quantity());
        }
    }
    let mut limits = resources.limits.take().unwrap_or_default();
    let declared = pod_limits(input.pod.spec());
    let kept = [(CPU, held.cpu_quota_us.is_some()), (MEMORY, held.memory_limit_bytes.is_some())];
    for (name, held) in kept {
        if let Some(limit) = declared.get(name).filter(|_| held) {
            limits.entry(name.to_owned()).or_insert_with(|| limit.clone());
        }
    }
    resources.requests = (!set_requests.is_empty()).then_some(set_requests);
    resources.limits = (!limits.is_empty()).then_some(limits);
}
