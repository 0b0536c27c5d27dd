//! VolumeRestrictions: a claim for one pod only, and disks that only one pod may write to.

use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::Volume;

use crate::cycle::Cycle;
use crate::framework::{Plugin, Reason, Rejection, Wake};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub static PLUGIN: Plugin = Plugin {
    name: "VolumeRestrictions",
    filter: Some(filter),
    wakes_on: &[Wake::NodeAdded, Wake::PodRemoved, Wake::StorageChanged],
    ..Plugin::NONE
};

fn filter(cycle: &Cycle, node: &NodeInfo) -> Result<(), Rejection> {
    let disks = &cycle.pod.disks;
    let conflicts =
        |other: &PodInfo| disks.iter().any(|mine| other.disks.iter().any(|theirs| share_a_disk(mine, theirs)));
    if !disks.is_empty() && node.pods.values().any(|other| conflicts(other)) {
        return Err(Rejection::resolvable(Reason::DiskConflict));
    }
    if exclusive_claims(cycle).any(|claim| is_used(cycle, node, &claim)) {
        return Err(Rejection::resolvable(Reason::ReadWriteOncePod));
    }
    Ok(())
}

/// The pod's claims of the access mode ReadWriteOncePod.
fn exclusive_claims<'a>(cycle: &'a Cycle) -> impl Iterator<Item = String> + 'a {
    let (pod, claims) = (cycle.pod, &cycle.listed.claims);
    pod.claims
        .iter()
        .filter(move |claim| {
            let found = claims.get(pod.pod.namespace(), claim).and_then(|claim| claim.spec.as_ref());
            found
                .and_then(|s| s.access_modes.as_ref())
                .is_some_and(|modes| modes.iter().any(|m| m == "ReadWriteOncePod"))
        })
        .cloned()
}

/// Some pod has the claim, wherever it is; on this node only those count that are on it now.
fn is_used(cycle: &Cycle, node: &NodeInfo, claim: &String) -> bool {
    let namespace = cycle.pod.pod.namespace();
    let uses = |other: &PodInfo| other.pod.namespace() == namespace && other.claims.contains(claim);
    let elsewhere = cycle.cluster.nodes().filter(|other| other.name != node.name);
    elsewhere.chain([node]).any(|node| node.pods.values().any(|other| uses(other)))
}

/// Of a kind that [`share_a_disk`] knows.
pub fn is_disk(volume: &Volume) -> bool {
    volume.gce_persistent_disk.is_some()
        || volume.aws_elastic_block_store.is_some()
        || volume.iscsi.is_some()
        || volume.rbd.is_some()
}

/// The same disk, unless both only read it.
fn share_a_disk(a: &Volume, b: &Volume) -> bool {
    let gce = || {
        let (a, b) = (a.gce_persistent_disk.as_ref()?, b.gce_persistent_disk.as_ref()?);
        Some(a.pd_name == b.pd_name && !(a.read_only == Some(true) && b.read_only == Some(true)))
    };
    let aws = || Some(a.aws_elastic_block_store.as_ref()?.volume_id == b.aws_elastic_block_store.as_ref()?.volume_id);
    let iscsi = || {
        let (a, b) = (a.iscsi.as_ref()?, b.iscsi.as_ref()?);
        Some(a.iqn == b.iqn && !(a.read_only == Some(true) && b.read_only == Some(true)))
    };
    let rbd = || {
        let (a, b) = (a.rbd.as_ref()?, b.rbd.as_ref()?);
        let monitors = a.monitors.iter().any(|monitor| b.monitors.contains(monitor));
        let same = monitors && a.pool == b.pool && a.image == b.image;
        Some(same && !(a.read_only == Some(true) && b.read_only == Some(true)))
    };
    [gce(), aws(), iscsi(), rbd()].into_iter().flatten().any(|conflict| conflict)
}
