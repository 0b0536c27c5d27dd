//! What everybody asks of typed claims and volumes: who is bound to whom, and what would fit.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, TypedLocalObjectReference};

use crate::node_selector::Term;
use crate::quantity::Quantity;
use crate::selector::Selector;
use crate::typed::Typed;

/// On claims and volumes whose binding is written down on both sides.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On claims and volumes that were bound by a controller, and not by who made them.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a claim that waits for its first pod: the node that was found for the pod.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// A class's provisioner that provisions nothing.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// How classes were named before there was a field.
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

pub fn has_annotation<K: Typed>(object: &K, key: &str) -> bool {
    object.meta().annotations.as_ref().is_some_and(|annotations| annotations.contains_key(key))
}

fn old_class<K: Typed>(object: &K) -> Option<&str> {
    object.meta().annotations.as_ref()?.get(OLD_CLASS).map(String::as_str)
}

/// Empty for none.
pub fn class_of_claim(claim: &PersistentVolumeClaim) -> &str {
    let named = claim.spec.as_ref().and_then(|s| s.storage_class_name.as_deref());
    old_class(claim).or(named).unwrap_or_default()
}

/// Empty for none.
pub fn class_of_volume(volume: &PersistentVolume) -> &str {
    let named = volume.spec.as_ref().and_then(|s| s.storage_class_name.as_deref());
    old_class(volume).or(named).unwrap_or_default()
}

/// The volume a claim names; empty for none.
pub fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).unwrap_or_default()
}

/// Bound on both sides.
pub fn is_fully_bound(claim: &PersistentVolumeClaim) -> bool {
    !volume_name(claim).is_empty() && has_annotation(claim, BIND_COMPLETED)
}

pub fn claim_reference(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// The volume is meant for this claim: by name, and by uid where it knows one.
pub fn is_meant_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    claim_reference(volume).is_some_and(|reference| {
        let uid = reference.uid.as_deref().unwrap_or_default();
        reference.name.as_deref() == Some(Typed::name(claim))
            && reference.namespace.as_deref() == Some(Typed::namespace(claim))
            && (uid.is_empty() || uid == Typed::uid(claim))
    })
}

/// Whether pods on a node of this name and these labels can reach the volume.
pub fn is_reachable(volume: &PersistentVolume, node: &str, labels: &BTreeMap<String, String>) -> bool {
    let affinity = volume.spec.as_ref().and_then(|s| s.node_affinity.as_ref()).and_then(|a| a.required.as_ref());
    affinity.is_none_or(|required| {
        required.node_selector_terms.iter().any(|term| Term::compile(term).matches(node, labels))
    })
}

fn storage(quantities: Option<&BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>) -> i64 {
    let text = quantities.and_then(|all| all.get("storage"));
    text.and_then(|text| Quantity::parse(&text.0).ok()).map_or(0, |quantity| quantity.value())
}

/// Bytes the claim asks for.
pub fn requested(claim: &PersistentVolumeClaim) -> i64 {
    let resources = claim.spec.as_ref().and_then(|s| s.resources.as_ref());
    storage(resources.and_then(|r| r.requests.as_ref()))
}

/// Bytes the volume has.
pub fn capacity(volume: &PersistentVolume) -> i64 {
    storage(volume.spec.as_ref().and_then(|s| s.capacity.as_ref()))
}

fn modes(modes: Option<&Vec<String>>) -> impl Iterator<Item = &str> {
    modes.into_iter().flatten().map(String::as_str)
}

fn has_modes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let offered: Vec<&str> = modes(volume.spec.as_ref().and_then(|s| s.access_modes.as_ref())).collect();
    modes(claim.spec.as_ref().and_then(|s| s.access_modes.as_ref())).all(|wanted| offered.contains(&wanted))
}

/// `None`, or why a volume that the claim names, or that names the claim, will not do for it.
pub fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let mode = |mode: Option<&String>| mode.map_or("Filesystem", String::as_str).to_owned();
    if requested(claim) > capacity(volume) {
        return Some("requested PV is too small");
    }
    if class_of_volume(volume) != class_of_claim(claim) {
        return Some("storageClassName does not match");
    }
    if mode(volume.spec.as_ref().and_then(|s| s.volume_mode.as_ref()))
        != mode(claim.spec.as_ref().and_then(|s| s.volume_mode.as_ref()))
    {
        return Some("incompatible volumeMode");
    }
    (!has_modes(volume, claim)).then_some("incompatible accessMode")
}

/// A node that a volume is to be reached from.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub node: &'a str,
    pub labels: &'a BTreeMap<String, String>,
}

/// The volume to bind the claim to: one that is meant for it, or the smallest that fits and is free.
/// Without a place, nodes are not looked at. `taken` says of a volume that it is spoken for.
pub fn best<'a>(
    claim: &PersistentVolumeClaim,
    volumes: impl Iterator<Item = &'a PersistentVolume>,
    place: Option<Place>,
    taken: impl Fn(&PersistentVolume) -> bool,
) -> Option<&'a PersistentVolume> {
    let selector = claim.spec.as_ref().and_then(|s| s.selector.as_ref());
    let selector = selector.map(|s| Selector::from_typed(s).unwrap_or_else(|_| Selector::nothing()));
    let reachable =
        |volume: &PersistentVolume| place.is_none_or(|place| is_reachable(volume, place.node, place.labels));
    let mut smallest: Option<&PersistentVolume> = None;
    for volume in volumes.filter(|volume| volume.metadata.deletion_timestamp.is_none() && !taken(volume)) {
        if claim_reference(volume).is_some() {
            let fits = is_meant_for(volume, claim) && mismatch_but_class(volume, claim).is_none();
            if fits && reachable(volume) {
                return Some(volume);
            }
            continue;
        }
        let is_available = volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Available");
        let selected = selector.as_ref().is_none_or(|s| s.matches_opt(volume.metadata.labels.as_ref()));
        if is_available && selected && mismatch(volume, claim).is_none() && reachable(volume) {
            let order = |volume: &PersistentVolume| (capacity(volume), Typed::name(volume).to_owned());
            if smallest.is_none_or(|known| order(volume) < order(known)) {
                smallest = Some(volume);
            }
        }
    }
    smallest
}

/// Who made the volume for the claim has decided about its class.
fn mismatch_but_class(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    mismatch(volume, claim).filter(|why| *why != "storageClassName does not match")
}

/// The claim is to be filled from something else.
pub fn data_source(claim: &PersistentVolumeClaim) -> Option<&TypedLocalObjectReference> {
    claim.spec.as_ref()?.data_source.as_ref()
}

/// The reference that binds a volume to `claim`.
pub fn reference_to(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolumeClaim".to_owned()),
        name: claim.metadata.name.clone(),
        namespace: claim.metadata.namespace.clone(),
        uid: claim.metadata.uid.clone(),
        resource_version: claim.metadata.resource_version.clone(),
        field_path: None,
    }
}

/// The volume as bound to `claim` by a controller; unchanged when it is so already.
pub fn bound_to(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> PersistentVolume {
    let mut bound = volume.clone();
    let uid = claim_reference(volume).and_then(|reference| reference.uid.clone()).unwrap_or_default();
    if !uid.is_empty() && is_meant_for(volume, claim) {
        return bound;
    }
    if claim_reference(volume).is_none() {
        let annotations = bound.metadata.annotations.get_or_insert_default();
        annotations.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
    }
    bound.spec.get_or_insert_default().claim_ref = Some(reference_to(claim));
    bound
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn volume(name: &str, size: &str, extra: Value) -> PersistentVolume {
        let mut spec =
            json!({"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "c"});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let value = json!({"metadata": {"name": name, "labels": {"name": name}}, "spec": spec, "status": {"phase": "Available"}});
        PersistentVolume::decode(value.to_string().as_bytes()).unwrap()
    }

    fn claim(extra: Value) -> PersistentVolumeClaim {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "c", "resources": {"requests": {"storage": "2Gi"}}});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let value = json!({"metadata": {"name": "data", "namespace": "d", "uid": "u"}, "spec": spec});
        PersistentVolumeClaim::decode(value.to_string().as_bytes()).unwrap()
    }

    fn found(claim: &PersistentVolumeClaim, volumes: &[PersistentVolume]) -> Option<String> {
        best(claim, volumes.iter(), None, |_| false).map(|volume| Typed::name(volume).to_owned())
    }

    #[test]
    fn the_smallest_that_fits_is_taken_unless_one_is_meant_for_the_claim() {
        let small = volume("small", "1Gi", json!({}));
        let large = volume("large", "9Gi", json!({}));
        let medium = volume("medium", "3Gi", json!({}));
        let all = [small.clone(), large.clone(), medium];
        assert_eq!(found(&claim(json!({})), &all).as_deref(), Some("medium"));
        assert_eq!(found(&claim(json!({})), &[small]), None);
        let chosen = claim(json!({"selector": {"matchLabels": {"name": "large"}}}));
        assert_eq!(found(&chosen, &all).as_deref(), Some("large"));
        for unfit in [
            json!({"storageClassName": "x"}),
            json!({"accessModes": ["ReadWriteMany"]}),
            json!({"volumeMode": "Block"}),
        ] {
            assert_eq!(found(&claim(unfit), &all), None);
        }
        let meant = volume("meant", "50Gi", json!({"claimRef": {"name": "data", "namespace": "d"}}));
        let others = volume("others", "2Gi", json!({"claimRef": {"name": "other", "namespace": "d"}}));
        assert_eq!(found(&claim(json!({})), &[others, large, meant]).as_deref(), Some("meant"));
    }

    #[test]
    fn a_volume_is_reached_from_where_it_says() {
        let local = volume(
            "local",
            "9Gi",
            json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["a"]}]}]}}}),
        );
        for (node, reached) in [("a", true), ("b", false)] {
            let labels = [("kubernetes.io/hostname".to_owned(), node.to_owned())].into();
            let place = Some(Place { node, labels: &labels });
            assert_eq!(best(&claim(json!({})), [&local].into_iter(), place, |_| false).is_some(), reached);
        }
    }
}
