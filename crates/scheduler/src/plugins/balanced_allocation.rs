//! NodeResourcesBalancedAllocation: better where CPU and memory end up used in like proportion.

use crate::framework::{MAX_SCORE, Plugin, Score};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::resource::Amounts;

pub static PLUGIN: Plugin = Plugin {
    name: "NodeResourcesBalancedAllocation",
    score: Some(Score { weight: 1, of: |cycle, nodes| nodes.iter().map(|node| score(cycle.pod, node)).collect() }),
    ..Plugin::NONE
};

/// How much the pod improves (towards 100) or spoils (towards 50) the node's balance.
fn score(pod: &PodInfo, node: &NodeInfo) -> i64 {
    if pod.request.milli_cpu == 0 && pod.request.memory_bytes == 0 {
        return 0;
    }
    let mut with_pod = node.requested.clone();
    with_pod.add(&pod.request);
    let (with, without) = (balance(&with_pod, &node.allocatable), balance(&node.requested, &node.allocatable));
    MAX_SCORE / 2 + (MAX_SCORE / 2 + with - without) / 2
}

/// 100 less the standard deviation of the used fractions.
fn balance(used: &Amounts, have: &Amounts) -> i64 {
    let fraction = |used: i64, have: i64| (have > 0).then(|| (used as f64 / have as f64).min(1.0));
    let parts = [fraction(used.milli_cpu, have.milli_cpu), fraction(used.memory_bytes, have.memory_bytes)];
    let deviation = match parts {
        // Of two numbers the standard deviation is half their distance.
        [Some(cpu), Some(memory)] => ((cpu - memory) / 2.0).abs(),
        _ => 0.0,
    };
    ((1.0 - deviation) * MAX_SCORE as f64) as i64
}
