//! Cgroup names and limits of the node, its QoS tiers, pods and containers
//! (`pkg/kubelet/cm`, `pkg/kubelet/kuberuntime`).

use orlop_runtime::Resources;

use super::oom::oom_score_adj;
use super::qos::{QosClass, qos_class};
use super::requests::{has_pod_level, pod_limits, pod_requests};
use super::{Amount, CPU, HUGEPAGES_PREFIX, MEMORY, ResourceList};
use crate::corev1::{Container, PodSpec};

/// The kernel's least `cpu.shares`.
pub const MIN_SHARES: u64 = 2;
/// The kernel's greatest `cpu.shares`.
const MAX_SHARES: u64 = 262_144;
const SHARES_PER_CPU: i64 = 1024;
/// The CFS period, `cpuCFSQuotaPeriod`'s default: 100 ms.
pub const QUOTA_PERIOD_US: u64 = 100_000;
/// The kernel takes no smaller quota: 1 ms.
const MIN_QUOTA_US: i64 = 1000;

/// Parent of all pods, below the node's own cgroup root.
pub const KUBEPODS: &str = "kubepods";

/// `kubepods/burstable/pod<uid>`; guaranteed pods sit at the top.
pub fn pod_cgroup(class: QosClass, uid: &str) -> String {
    match class {
        QosClass::Guaranteed => format!("{KUBEPODS}/pod{uid}"),
        QosClass::Burstable => format!("{KUBEPODS}/burstable/pod{uid}"),
        QosClass::BestEffort => format!("{KUBEPODS}/besteffort/pod{uid}"),
    }
}

/// The cgroup of all pods together.
pub fn all_pods(limit: &ResourceList) -> Resources {
    Resources {
        cpu_shares: Some(milli_cpu_to_shares(Amount::of(Some(limit), CPU).milli_value())),
        memory_limit_bytes: positive(Amount::of(Some(limit), MEMORY).value()),
        ..Resources::default()
    }
}

pub fn milli_cpu_to_shares(milli: i64) -> u64 {
    if milli <= 0 {
        return MIN_SHARES;
    }
    u64::try_from(milli * SHARES_PER_CPU / 1000).unwrap_or(0).clamp(MIN_SHARES, MAX_SHARES)
}

/// `None` is unlimited.
pub fn milli_cpu_to_quota_us(milli: i64) -> Option<i64> {
    (milli > 0).then(|| (milli * QUOTA_PERIOD_US as i64 / 1000).max(MIN_QUOTA_US))
}

/// Limits of a pod's cgroup: a limit holds only when every container has one.
pub fn pod_resources(spec: &PodSpec, pids_limit: Option<i64>) -> Resources {
    let requests = pod_requests(spec);
    let limits = pod_limits(spec);
    let class = qos_class(spec);
    let shares = match class {
        QosClass::BestEffort => MIN_SHARES,
        _ => milli_cpu_to_shares(Amount::of(Some(&requests), CPU).milli_value()),
    };
    let mut resources = Resources {
        cpu_shares: Some(shares),
        hugepages: hugepages(Some(&requests)),
        pids_limit,
        ..Resources::default()
    };
    if class == QosClass::Guaranteed || all_limited(spec, CPU) {
        resources.cpu_quota_us = milli_cpu_to_quota_us(Amount::of(Some(&limits), CPU).milli_value());
        resources.cpu_period_us = Some(QUOTA_PERIOD_US);
    }
    if class == QosClass::Guaranteed || all_limited(spec, MEMORY) {
        resources.memory_limit_bytes = positive(Amount::of(Some(&limits), MEMORY).value());
    }
    resources
}

/// Limits of a container's cgroup; a container without its own limit takes the pod-level one.
pub fn container_resources(spec: &PodSpec, container: &Container, memory_capacity: i64) -> Resources {
    let requirements = container.resources.as_ref();
    let requests = requirements.and_then(|r| r.requests.as_ref());
    let cpu_limit = effective_limit(spec, container, CPU);
    let memory_limit = effective_limit(spec, container, MEMORY);
    // A limit without a request is the request as well.
    let cpu_request = Amount::find(requests, CPU).unwrap_or_else(|| cpu_limit.clone());
    Resources {
        cpu_shares: Some(milli_cpu_to_shares(cpu_request.milli_value())),
        cpu_quota_us: milli_cpu_to_quota_us(cpu_limit.milli_value()),
        cpu_period_us: Some(QUOTA_PERIOD_US),
        memory_limit_bytes: positive(memory_limit.value()),
        hugepages: hugepages(requirements.and_then(|r| r.limits.as_ref())),
        oom_score_adj: Some(oom_score_adj(spec, container, memory_capacity)),
        ..Resources::default()
    }
}

fn effective_limit(spec: &PodSpec, container: &Container, name: &str) -> Amount {
    let own = Amount::of(container.resources.as_ref().and_then(|r| r.limits.as_ref()), name);
    if own.is_zero() && has_pod_level(spec) {
        return Amount::of(spec.resources.as_ref().and_then(|r| r.limits.as_ref()), name);
    }
    own
}

fn all_limited(spec: &PodSpec, name: &str) -> bool {
    let pod_level = spec.resources.as_ref().and_then(|r| r.limits.as_ref());
    if has_pod_level(spec) && !Amount::of(pod_level, name).is_zero() {
        return true;
    }
    let mut containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    containers.all(|c| !Amount::of(c.resources.as_ref().and_then(|r| r.limits.as_ref()), name).is_zero())
}

fn hugepages(list: Option<&ResourceList>) -> std::collections::BTreeMap<String, u64> {
    let sizes = list.into_iter().flatten().filter_map(|(name, quantity)| {
        let size = name.strip_prefix(HUGEPAGES_PREFIX)?;
        let bytes = u64::try_from(Amount::parse(&quantity.0)?.value()).ok()?;
        // The kernel says `2MB` and `1GB` where Kubernetes says `2Mi` and `1Gi`.
        Some((format!("{}B", size.trim_end_matches('i')), bytes))
    });
    sizes.collect()
}

fn positive(bytes: i64) -> Option<i64> {
    (bytes > 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::pod;

    #[test]
    fn shares_and_quota_follow_the_kernels_bounds() {
        let shares: Vec<u64> = [0, 1, 2, 100, 1000, 1_000_000].map(milli_cpu_to_shares).to_vec();
        assert_eq!(shares, [2, 2, 2, 102, 1024, 262_144]);
        let quotas: Vec<Option<i64>> = [0, 1, 200, 2500].map(milli_cpu_to_quota_us).to_vec();
        assert_eq!(quotas, [None, Some(1000), Some(20_000), Some(250_000)]);
    }

    #[test]
    fn a_pod_limit_needs_every_container_limited() {
        let limited = json!({"limits": {"cpu": "500m", "memory": "64Mi"}});
        let all =
            pod(json!({"containers": [{"name": "a", "resources": limited}, {"name": "b", "resources": limited}]}));
        let some = pod(json!({"containers": [{"name": "a", "resources": limited}, {"name": "b"}]}));
        let (all, some) = (pod_resources(all.spec(), None), pod_resources(some.spec(), Some(100)));
        assert_eq!((all.cpu_quota_us, all.memory_limit_bytes), (Some(100_000), Some(128 << 20)));
        assert_eq!((some.cpu_quota_us, some.memory_limit_bytes, some.pids_limit), (None, None, Some(100)));
    }

    #[test]
    fn a_container_limit_is_its_request_too() {
        let pod = pod(json!({"containers": [{"name": "a", "resources":
            {"limits": {"cpu": "500m", "memory": "64Mi", "hugepages-2Mi": "4Mi"}}}]}));
        let resources = container_resources(pod.spec(), &pod.spec().containers[0], 1 << 30);
        assert_eq!((resources.cpu_shares, resources.cpu_quota_us), (Some(512), Some(50_000)));
        assert_eq!(resources.memory_limit_bytes, Some(64 << 20));
        assert_eq!(resources.hugepages["2MB"], 4 << 20);
    }
}
