//! ImageLocality: better where the images lie already, if enough nodes have them.

use crate::cycle::Cycle;
use crate::framework::{MAX_SCORE, Plugin, Score};
use crate::node::NodeInfo;

pub static PLUGIN: Plugin = Plugin {
    name: "ImageLocality",
    score: Some(Score { weight: 1, of: |cycle, nodes| nodes.iter().map(|node| score(cycle, node)).collect() }),
    ..Plugin::NONE
};

const MEBIBYTE: i64 = 1024 * 1024;
/// Below this an image is pulled in no time.
const MIN_BYTES: i64 = 23 * MEBIBYTE;
/// Per container: more makes no difference.
const MAX_BYTES: i64 = 1000 * MEBIBYTE;

fn score(cycle: &Cycle, node: &NodeInfo) -> i64 {
    let (pod, cluster) = (cycle.pod, cycle.cluster);
    let count = i64::try_from(pod.images.len()).unwrap_or(i64::MAX);
    if count == 0 {
        return 0;
    }
    // Scaled by how many nodes have it, lest the first node to pull an image gets all its pods.
    let scaled = |image: &String| {
        let size = node.images.get(image)?;
        Some((*size as f64 * cluster.image_spread(image) as f64 / cluster.len() as f64) as i64)
    };
    let sum: i64 = pod.images.iter().filter_map(scaled).sum();
    let most = MAX_BYTES * count;
    MAX_SCORE * (sum.clamp(MIN_BYTES, most) - MIN_BYTES) / (most - MIN_BYTES)
}
