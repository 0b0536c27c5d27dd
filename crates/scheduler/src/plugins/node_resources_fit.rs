//! NodeResourcesFit: what the pod requests must be left; among those, the emptier node is better.

use crate::cycle::Cycle;
use crate::framework::{MAX_SCORE, Plugin, Reason, Rejection, Score, Wake};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub static PLUGIN: Plugin = Plugin {
    name: "NodeResourcesFit",
    filter: Some(filter),
    score: Some(Score { weight: 1, of: |cycle, nodes| nodes.iter().map(|node| score(cycle.pod, node)).collect() }),
    wakes_on: &[Wake::NodeAdded, Wake::NodeAllocatableChanged, Wake::PodRemoved],
    ..Plugin::NONE
};

fn filter(cycle: &Cycle, node: &NodeInfo) -> Result<(), Rejection> {
    let pod = cycle.pod;
    let mut lacks = Lacks::default();
    if node.pods.len() + 1 > node.allowed_pods {
        lacks.reasons.push(Reason::TooManyPods);
    }
    let (want, have, used) = (&pod.request, &node.allocatable, &node.requested);
    lacks.check("cpu", want.milli_cpu, have.milli_cpu, used.milli_cpu);
    lacks.check("memory", want.memory_bytes, have.memory_bytes, used.memory_bytes);
    lacks.check(
        "ephemeral-storage",
        want.ephemeral_storage_bytes,
        have.ephemeral_storage_bytes,
        used.ephemeral_storage_bytes,
    );
    for (name, amount) in &want.others {
        let of = |amounts: &std::collections::BTreeMap<String, i64>| amounts.get(name).copied().unwrap_or(0);
        lacks.check(name, *amount, of(&have.others), of(&used.others));
    }
    if lacks.reasons.is_empty() {
        return Ok(());
    }
    Err(Rejection { reasons: lacks.reasons, is_resolvable: !lacks.never })
}

#[derive(Default)]
struct Lacks {
    reasons: Vec<Reason>,
    /// Asks for more than the empty node has.
    never: bool,
}

impl Lacks {
    fn check(&mut self, name: &str, want: i64, have: i64, used: i64) {
        if want > 0 && want > have - used {
            self.reasons.push(Reason::Insufficient(name.to_owned()));
            self.never |= want > have;
        }
    }
}

/// LeastAllocated over CPU and memory, equally weighted.
fn score(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let free = |used: i64, want: i64, have: i64| {
        let total = used.saturating_add(want);
        (have > 0)
            .then(|| if total > have { 0 } else { i128::from(have - total) * i128::from(MAX_SCORE) / i128::from(have) })
    };
    let (used, want, have) = (&node.requested_for_scoring, &pod.request_for_scoring, &node.allocatable);
    let parts = [
        free(used.milli_cpu, want.milli_cpu, have.milli_cpu),
        free(used.memory_bytes, want.memory_bytes, have.memory_bytes),
    ];
    let known: Vec<i128> = parts.into_iter().flatten().collect();
    if known.is_empty() {
        return 0;
    }
    let count = i128::try_from(known.len()).expect("two at most");
    i64::try_from(known.iter().sum::<i128>() / count).expect("at most MAX_SCORE")
}
