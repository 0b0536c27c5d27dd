//! How long a container is given to stop, and whom it waits for.

use super::spec::{NodePod, Role};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    StartupProbe,
    LivenessProbe,
    FailedPostStartHook,
    RestartAllContainers,
    Unknown,
}

/// Every container gets a moment between the stop signal and SIGKILL (`minimumGracePeriodInSeconds`).
pub const MIN_GRACE_SECONDS: i64 = 2;

/// Seconds a container is given when it is killed for `reason` (KEP-2238).
pub fn container_grace_seconds(pod: &NodePod, name: &str, reason: KillReason) -> i64 {
    if let Some(seconds) = pod.object.metadata.deletion_grace_period_seconds {
        return seconds;
    }
    let Some(pod_seconds) = pod.spec().termination_grace_period_seconds else { return MIN_GRACE_SECONDS };
    let container = pod.container(name).map(|(_, c)| c);
    let probe = match reason {
        KillReason::StartupProbe => container.and_then(|c| c.startup_probe.as_ref()),
        KillReason::LivenessProbe => container.and_then(|c| c.liveness_probe.as_ref()),
        KillReason::RestartAllContainers => return 0,
        KillReason::FailedPostStartHook | KillReason::Unknown => None,
    };
    probe.and_then(|p| p.termination_grace_period_seconds).unwrap_or(pod_seconds)
}

/// Seconds the whole pod is given: the deletion's, else the spec's, never less than one.
pub fn pod_grace_seconds(pod: &NodePod) -> i64 {
    let deletion = pod.object.metadata.deletion_grace_period_seconds;
    deletion.or(pod.spec().termination_grace_period_seconds).unwrap_or(30).max(1)
}

/// Names that must have stopped before `name` is told to: sidecars outlive the main containers and
/// the sidecars that came after them.
pub fn stops_after(pod: &NodePod, name: &str) -> Vec<String> {
    let mut before = Vec::new();
    if !matches!(pod.container(name), Some((Role::Sidecar, _))) {
        return before;
    }
    let mut later = false;
    for (role, container) in pod.containers() {
        match role {
            Role::Main => before.push(container.name.clone()),
            Role::Sidecar if later => before.push(container.name.clone()),
            _ => {}
        }
        later = later || container.name == name;
    }
    before
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::pod;

    #[test]
    fn sidecars_stop_last_and_in_reverse() {
        let pod = pod(json!({
            "initContainers": [{"name": "s1", "restartPolicy": "Always"}, {"name": "i"}, {"name": "s2", "restartPolicy": "Always"}],
            "containers": [{"name": "a"}, {"name": "b"}],
        }));
        assert_eq!(stops_after(&pod, "s1"), ["s2", "a", "b"]);
        assert_eq!(stops_after(&pod, "s2"), ["a", "b"]);
        assert!(stops_after(&pod, "a").is_empty());
    }

    #[test]
    fn a_probe_may_have_its_own_grace() {
        let pod = pod(json!({
            "terminationGracePeriodSeconds": 60,
            "containers": [{"name": "a", "livenessProbe": {"terminationGracePeriodSeconds": 5}}],
        }));
        assert_eq!(container_grace_seconds(&pod, "a", KillReason::LivenessProbe), 5);
        assert_eq!(container_grace_seconds(&pod, "a", KillReason::StartupProbe), 60);
        assert_eq!(pod_grace_seconds(&pod), 60);
    }
}
