//! Pods that fill more of the disk than they were allowed to, whatever is left of it.

use crate::pod::spec::{NodePod, Role};
use crate::resources::requests::pod_limits;
use crate::resources::{Amount, EPHEMERAL_STORAGE};
use crate::usage::PodUsage;

/// The limit that was broken: signal for metrics, and upstream's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub signal: &'static str,
    pub message: String,
}

/// Is there any limit that is worth measuring for?
pub fn is_limited(pod: &NodePod) -> bool {
    Amount::find(Some(&pod_limits(pod.spec())), EPHEMERAL_STORAGE).is_some() || sized(pod).next().is_some()
}

pub fn violation(pod: &NodePod, usage: &PodUsage) -> Option<Violation> {
    empty_dir(pod, usage).or_else(|| whole(pod, usage)).or_else(|| container(pod, usage))
}

fn bytes(count: u64) -> Amount {
    Amount::bytes(i64::try_from(count).unwrap_or(i64::MAX))
}

/// emptyDir volumes on disk with a size limit; those in memory are limited by the kernel.
fn sized(pod: &NodePod) -> impl Iterator<Item = (&str, Amount)> {
    let volumes = pod.spec().volumes.iter().flatten();
    volumes.filter_map(|volume| {
        let source = volume.empty_dir.as_ref().filter(|s| s.medium.as_deref().unwrap_or_default().is_empty())?;
        let limit = Amount::parse(&source.size_limit.as_ref()?.0).filter(|limit| limit.value() > 0)?;
        Some((volume.name.as_str(), limit))
    })
}

fn empty_dir(pod: &NodePod, usage: &PodUsage) -> Option<Violation> {
    let used = |name: &str| usage.volumes.iter().find(|(n, _)| n == name).map(|(_, usage)| bytes(usage.bytes));
    let (name, limit) = sized(pod).find(|(name, limit)| used(name).is_some_and(|used| used > *limit))?;
    let message = format!("Usage of EmptyDir volume {name:?} exceeds the limit \"{limit}\". ");
    Some(Violation { signal: "emptydirfs.limit", message })
}

fn whole(pod: &NodePod, usage: &PodUsage) -> Option<Violation> {
    let limit = Amount::find(Some(&pod_limits(pod.spec())), EPHEMERAL_STORAGE)?;
    let message = format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. ");
    (bytes(usage.disk().bytes) > limit).then_some(Violation { signal: "ephemeralpodfs.limit", message })
}

fn container(pod: &NodePod, usage: &PodUsage) -> Option<Violation> {
    usage.containers.iter().find_map(|container| {
        let (_, spec) =
            pod.container(&container.name).filter(|(role, _)| matches!(role, Role::Main | Role::Sidecar))?;
        let limit = Amount::find(spec.resources.as_ref()?.limits.as_ref(), EPHEMERAL_STORAGE)?;
        let over = !limit.is_zero() && bytes(container.disk().bytes) > limit;
        let message = format!("Container {} exceeded its local ephemeral storage limit \"{limit}\". ", container.name);
        over.then_some(Violation { signal: "ephemeralcontainerfs.limit", message })
    })
}

#[cfg(test)]
mod tests {
    use orlop_base::disk_usage::DiskUsage;
    use serde_json::json;

    use super::*;
    use crate::testing::pod;
    use crate::usage::ContainerUsage;

    #[test]
    fn limits_in_upstreams_words() {
        let disk = |bytes| DiskUsage { bytes, inodes: 1 };
        let limit = |limit: &str| json!({"limits": {"ephemeral-storage": limit}});
        let usage = PodUsage {
            containers: vec![ContainerUsage { name: "a".into(), logs: disk(2 << 20), ..ContainerUsage::default() }],
            volumes: vec![("v".into(), disk(2 << 20))],
            ..PodUsage::default()
        };
        for (spec, message) in [
            (json!({"containers": [{"name": "a"}]}), None),
            (
                json!({"containers": [{"name": "a"}], "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]}),
                Some("Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". "),
            ),
            (
                json!({"containers": [{"name": "a", "resources": limit("3Mi")}]}),
                Some("Pod ephemeral local storage usage exceeds the total limit of containers 3Mi. "),
            ),
            (
                json!({"containers": [{"name": "a", "resources": limit("1Mi")}, {"name": "b", "resources": limit("9Mi")}]}),
                Some("Container a exceeded its local ephemeral storage limit \"1Mi\". "),
            ),
        ] {
            let pod = pod(spec);
            let found = violation(&pod, &usage).map(|v| v.message);
            assert_eq!(found.as_deref(), message);
            assert_eq!(is_limited(&pod), message.is_some());
        }
    }
}
