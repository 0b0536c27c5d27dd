//! Volumes: which claim has which, and that neither goes while it is used.

pub mod attributes_class_protection;
pub mod binder;
pub mod claim_protection;
pub mod ephemeral;
pub mod protection;

use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{PersistentVolumeClaim, Pod};
use orlop_client::cache::Index;
use orlop_client::engine::Key;

use crate::common::owners::controller_of;

/// Files pods under the claims they name.
const BY_CLAIM: Index<Pod> = Index {
    name: "claim",
    values: |pod| claim_names(pod).map(|claim| Key::new(Typed::namespace(pod), &claim).to_string()).collect(),
};

/// Names of the claims that a pod's volumes are, those made for it included.
fn claim_names(pod: &Pod) -> impl Iterator<Item = String> + '_ {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    volumes.filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some(source.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", Typed::name(pod), volume.name)),
        (None, None) => None,
    })
}

/// Whether a volume of the pod is this claim: by name, and for one made for a pod, for this one.
fn mounts(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let name = Typed::name(claim);
    let mut volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    volumes.any(|volume| {
        let named = volume.persistent_volume_claim.as_ref().is_some_and(|source| source.claim_name == name);
        named || volume.ephemeral.is_some() && is_made_for(pod, claim, &volume.name)
    })
}

fn is_made_for(pod: &Pod, claim: &PersistentVolumeClaim, volume: &str) -> bool {
    let owned = controller_of(claim).is_some_and(|owner| owner.uid == Typed::uid(pod));
    owned && Typed::name(claim) == format!("{}-{volume}", Typed::name(pod))
}
