//! Which pods go first when there are too many.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use orlop_api::typed::kinds::Pod;

use crate::common::pods;

/// The `count` pods of `active` to remove. `related` are all pods that serve the same purpose: a
/// node that runs several of them loses one first.
pub fn first_to_go<'a, P: Borrow<Pod>>(
    active: &[&'a P],
    related: &[&Arc<Pod>],
    count: usize,
    now: Timestamp,
) -> Vec<&'a P> {
    let mut pods = active.to_vec();
    if count < pods.len() {
        let mut per_node = BTreeMap::<&str, usize>::new();
        for pod in related.iter().filter(|pod| pods::is_active(pod)) {
            *per_node.entry(pods::node_name(pod).unwrap_or_default()).or_default() += 1;
        }
        pods.sort_by_cached_key(|pod| rank((**pod).borrow(), &per_node, now));
        pods.truncate(count);
    }
    pods
}

/// Upstream's `ActivePodsWithRanks`, as a key: lesser goes first. Ages are compared by powers of
/// two (KEP-2185), so that pods of about one age are chosen from by chance: by uid.
fn rank(pod: &Pod, per_node: &BTreeMap<&str, usize>, now: Timestamp) -> impl Ord + use<> {
    let node = pods::node_name(pod).unwrap_or_default();
    let phase = match pods::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let ready = pods::is_ready(pod);
    let ready_age = ready.then(|| pods::ready_since(pod).map(|since| magnitude(since, now)));
    let (restarts, sidecar_restarts) = pods::max_restarts(pod);
    let created = pod.metadata.creation_timestamp.as_ref().map(|t| magnitude(t.0, now));
    (
        !node.is_empty(),
        phase,
        ready,
        pods::deletion_cost(pod),
        Reverse(per_node.get(node).copied().unwrap_or(0)),
        ready_age,
        Reverse((restarts, sidecar_restarts)),
        created,
        pod.metadata.uid.clone(),
    )
}

/// The power of two of an age in nanoseconds; -1 for none.
fn magnitude(since: Timestamp, now: Timestamp) -> i64 {
    let age = now.as_nanosecond() - since.as_nanosecond();
    if age > 0 { age.ilog2().into() } else { -1 }
}
