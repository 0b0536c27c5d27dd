//! Pods: their requests and limits while they live, their number always.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{one, selects};
use crate::kinds::pod::qos;
use crate::kinds::read::Read;
use crate::pod_resources;
use crate::resource_list::ResourceList;

const NAMES: [&str; 10] = [
    "pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

/// Counted under their own name, as `requests.…` and as `limits.…`.
const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// A quota on these asks every container to say how much it wants. Upstream calls that a mistake it must keep.
const REQUIRED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

pub fn tracks(name: &str) -> bool {
    NAMES.contains(&name)
        || name.starts_with("hugepages-")
        || name.strip_prefix("requests.").is_some_and(|rest| rest.starts_with("hugepages-") || is_extended(rest))
}

/// Domain-qualified and not Kubernetes' own, but for the implicit names of device classes.
fn is_extended(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    !native || name.starts_with("deviceclass.resource.kubernetes.io/")
}

pub fn usage(pod: &Value, now: i64) -> ResourceList {
    if !is_live(pod, now) {
        return ResourceList::default();
    }
    charge(&pod_resources::held_requests(pod), &pod_resources::held_limits(pod))
}

fn charge(requests: &ResourceList, limits: &ResourceList) -> ResourceList {
    let mut usage = ResourceList::default();
    usage.set("pods", one());
    for (name, amount) in requests.iter() {
        let compute = COMPUTE.contains(&name) || name.starts_with("hugepages-");
        if compute {
            usage.set(name, amount.clone());
        }
        if compute || is_extended(name) {
            usage.set(format!("requests.{name}"), amount.clone());
        }
    }
    for name in COMPUTE {
        if let Some(amount) = limits.get(name) {
            usage.set(format!("limits.{name}"), amount.clone());
        }
    }
    usage
}

/// Neither finished nor past the end of its grace: a lost node must not keep an application from growing.
fn is_live(pod: &Value, now: i64) -> bool {
    if matches!(pod.text("status.phase"), "Failed" | "Succeeded") {
        return false;
    }
    let deletion = pod.text("metadata.deletionTimestamp").parse::<jiff::Timestamp>().ok();
    match (deletion, pod.at("metadata.deletionGracePeriodSeconds").as_i64()) {
        (Some(at), Some(grace)) => now <= at.as_second() + grace,
        _ => true,
    }
}

pub fn in_scope(selector: &Value, pod: &Value) -> bool {
    let terminating = || pod.at("spec.activeDeadlineSeconds").as_i64().is_some_and(|seconds| seconds >= 0);
    match selector.text("scopeName") {
        "Terminating" => terminating(),
        "NotTerminating" => !terminating(),
        "BestEffort" => qos::class(pod) == "BestEffort",
        "NotBestEffort" => qos::class(pod) != "BestEffort",
        "PriorityClass" => {
            let class = pod.text("spec.priorityClassName");
            selects(selector, Some(class).filter(|class| !class.is_empty()))
        }
        "CrossNamespacePodAffinity" => reaches_other_namespaces(pod),
        _ => false,
    }
}

fn reaches_other_namespaces(pod: &Value) -> bool {
    let crosses = |term: &Value| !term.list("namespaces").is_empty() || term.has("namespaceSelector");
    ["spec.affinity.podAffinity", "spec.affinity.podAntiAffinity"].into_iter().any(|path| {
        let affinity = pod.at(path);
        affinity.list("requiredDuringSchedulingIgnoredDuringExecution").iter().any(crosses)
            || affinity
                .list("preferredDuringSchedulingIgnoredDuringExecution")
                .iter()
                .any(|weighted| crosses(weighted.at("podAffinityTerm")))
    })
}

/// Every container names what the quota limits, unless the pod does as a whole.
pub fn check<'a>(hard: impl Iterator<Item = &'a str>, pod: &Value) -> Result<(), String> {
    if pod_resources::has_pod_level(pod) {
        return Ok(());
    }
    let required: Vec<&str> = hard.filter(|name| REQUIRED.contains(name)).collect();
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in pod.list("spec.containers").iter().chain(pod.list("spec.initContainers")) {
        let list = |which: &str| ResourceList::read(&container["resources"][which]);
        let said = charge(&list("requests"), &list("limits"));
        for name in required.iter().filter(|name| said.get(name).is_none()) {
            missing.entry(name).or_default().insert(container.text("name"));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let parts = missing
        .into_iter()
        .map(|(name, containers)| format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(",")));
    Err(format!("must specify {}", parts.collect::<Vec<_>>().join("; ")))
}
