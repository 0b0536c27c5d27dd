//! VolumeZone: a volume of a zone is used in that zone.

use orlop_api::typed::Typed;
use orlop_api::volumes::volume_name;

use crate::cycle::Cycle;
use crate::framework::{Plugin, Reason, Rejection, Wake};
use crate::node::NodeInfo;

pub static PLUGIN: Plugin = Plugin {
    name: "VolumeZone",
    filter: Some(filter),
    wakes_on: &[Wake::NodeAdded, Wake::NodeLabelsChanged, Wake::StorageChanged],
    ..Plugin::NONE
};

/// Labels of places, the old names last.
const KEYS: [&str; 4] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];
/// Between the zones of a volume that has several.
const SEPARATOR: &str = "__";

fn filter(cycle: &Cycle, node: &NodeInfo) -> Result<(), Rejection> {
    // A node that is in no place at all takes everything.
    if !KEYS.iter().any(|key| node.labels().contains_key(*key)) {
        return Ok(());
    }
    let listed = cycle.listed;
    let claims = cycle.pod.claims.iter().filter_map(|claim| listed.claims.get(cycle.pod.pod.namespace(), claim));
    for volume in claims.filter_map(|claim| listed.volumes.get("", volume_name(claim))) {
        let labels = volume.metadata.labels.iter().flatten();
        for (key, zones) in labels.filter(|(key, _)| KEYS.contains(&key.as_str())) {
            let here = node.labels().get(key).or_else(|| node.labels().get(newer(key)));
            if !here.is_some_and(|here| zones.split(SEPARATOR).any(|zone| zone == here)) {
                return Err(Rejection::final_(Reason::VolumeZone));
            }
        }
    }
    Ok(())
}

fn newer(key: &str) -> &str {
    match key {
        "failure-domain.beta.kubernetes.io/zone" => KEYS[0],
        "failure-domain.beta.kubernetes.io/region" => KEYS[1],
        other => other,
    }
}
