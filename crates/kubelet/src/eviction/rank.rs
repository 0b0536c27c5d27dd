//! Who goes first (`pkg/kubelet/eviction/helpers.go`): those who use more than they asked for, then
//! those of low priority, then those furthest above their request.

use std::cmp::Reverse;
use std::sync::Arc;

use super::threshold::Starved;
use crate::pod::spec::NodePod;
use crate::resources::requests::pod_requests;
use crate::resources::{Amount, EPHEMERAL_STORAGE, MEMORY};
use crate::usage::PodUsage;

pub type Candidate = (Arc<NodePod>, PodUsage);

/// First to go first. Those with equal claims stay in their order.
pub fn rank(starved: Starved, candidates: &mut [Candidate]) {
    candidates.sort_by_key(|(pod, usage)| {
        let priority = pod.spec().priority.unwrap_or(0);
        if starved == Starved::Pids {
            let processes = usage.whole.as_ref().map_or(0, |s| i64::try_from(s.pids).unwrap_or(i64::MAX));
            return (false, priority, Reverse(processes));
        }
        let above = above_request(starved, pod, usage);
        (above <= 0, priority, Reverse(above))
    });
}

fn above_request(starved: Starved, pod: &NodePod, usage: &PodUsage) -> i64 {
    let requests = pod_requests(pod.spec());
    let requested = |name: &str| Amount::of(Some(&requests), name).value();
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    match starved {
        Starved::Memory => usage.working_set().saturating_sub(requested(MEMORY)),
        Starved::Disk => count(usage.disk().bytes).saturating_sub(requested(EPHEMERAL_STORAGE)),
        Starved::Inodes => count(usage.disk().inodes),
        Starved::Pids => 0,
    }
}

#[cfg(test)]
mod tests {
    use orlop_runtime::Stats;
    use serde_json::json;

    use super::*;
    use crate::testing::pod_from;

    fn candidate(name: &str, priority: i32, request: &str, working_set: u64, pids: u64) -> Candidate {
        let pod = pod_from(json!({
            "metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"priority": priority, "containers": [
                {"name": "a", "resources": {"requests": {"memory": request}}}]},
        }));
        let whole = Stats { memory_working_set_bytes: working_set, pids, ..Stats::default() };
        (Arc::new(pod), PodUsage { whole: Some(whole), ..PodUsage::default() })
    }

    #[test]
    fn the_greedy_then_the_unimportant_then_the_large() {
        let mut candidates = vec![
            candidate("modest", 0, "1Gi", 900 << 20, 9),
            candidate("important", 100, "0", 800 << 20, 1),
            candidate("greedy", 0, "100Mi", 200 << 20, 5),
            candidate("greedier", 0, "100Mi", 300 << 20, 2),
        ];
        let order = |c: &[Candidate]| c.iter().map(|(p, _)| p.name().to_owned()).collect::<Vec<_>>();
        rank(Starved::Memory, &mut candidates);
        assert_eq!(order(&candidates), ["greedier", "greedy", "important", "modest"]);
        rank(Starved::Pids, &mut candidates);
        assert_eq!(order(&candidates), ["modest", "greedy", "greedier", "important"]);
    }
}
