//! The storage of a set's pods: claims made from the templates, and whose they are when the set
//! shrinks or goes (KEP-1847).

use std::sync::Arc;

use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Volume};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use orlop_api::typed::kinds::{PersistentVolumeClaim, Pod, StatefulSet};
use orlop_client::engine::{Note, View, Write};

use super::identity;
use crate::common::owners::controller_reference;

fn templates(set: &StatefulSet) -> &[PersistentVolumeClaim] {
    set.spec.volume_claim_templates.as_deref().unwrap_or_default()
}

fn claim_name(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> String {
    format!("{}-{}-{ordinal}", Typed::name(template), Typed::name(set))
}

/// The claims that exist for a pod.
fn existing<'a>(
    set: &'a StatefulSet,
    ordinal: i32,
    view: &'a View,
) -> impl Iterator<Item = &'a Arc<PersistentVolumeClaim>> {
    let known = view.of::<PersistentVolumeClaim>();
    templates(set).iter().filter_map(move |t| known.get(Typed::namespace(set), &claim_name(set, t, ordinal)))
}

/// What a pod lacks before it can be made, or why it must wait.
pub fn missing(set: &StatefulSet, pod: &Pod, ordinal: i32, view: &View) -> Result<Vec<Write>, String> {
    if let Some(leaving) = existing(set, ordinal, view).find(|claim| claim.metadata.deletion_timestamp.is_some()) {
        return Err(format!("pvc {} is being deleted", Typed::name(&**leaving)));
    }
    let known = view.of::<PersistentVolumeClaim>();
    let absent =
        templates(set).iter().filter(|t| known.get(Typed::namespace(set), &claim_name(set, t, ordinal)).is_none());
    Ok(absent.map(|template| create(set, template, pod, ordinal)).collect())
}

fn create(set: &StatefulSet, template: &PersistentVolumeClaim, pod: &Pod, ordinal: i32) -> Write {
    let mut claim = template.clone();
    let name = claim_name(set, template, ordinal);
    let (pod, owner) = (Typed::name(pod), Typed::name(set));
    let made = format!("Create Claim {name} Pod {pod} in StatefulSet {owner} success");
    let failed = format!("Create Claim {name} for Pod {pod} in StatefulSet {owner} failed error: {{error}}");
    claim.metadata.name = Some(name);
    claim.metadata.namespace.clone_from(&set.metadata.namespace);
    let labels = claim.metadata.labels.get_or_insert_default();
    labels.extend(set.spec.selector.match_labels.clone().unwrap_or_default());
    Write::create(&claim).done(Note::normal(set, "SuccessfulCreate", made)).failed(Note::warning(
        set,
        "FailedCreate",
        failed,
    ))
}

/// The pod's volumes are the set's claims, whatever its template says under those names.
pub fn mount(set: &StatefulSet, pod: &mut Pod, ordinal: i32) {
    let mounted = templates(set).iter().map(|template| Volume {
        name: Typed::name(template).to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim_name(set, template, ordinal),
            read_only: None,
        }),
        ..Volume::default()
    });
    let mut volumes: Vec<Volume> = mounted.collect();
    let spec = pod.spec.get_or_insert_default();
    let others = spec.volumes.take().unwrap_or_default();
    volumes.extend(others.into_iter().filter(|v| templates(set).iter().all(|t| Typed::name(t) != v.name)));
    spec.volumes = (!volumes.is_empty()).then_some(volumes);
}

pub fn are_mounted(set: &StatefulSet, pod: &Pod, ordinal: i32) -> bool {
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    templates(set).iter().all(|template| {
        let wanted = claim_name(set, template, ordinal);
        let found = volumes.iter().find(|v| v.name == Typed::name(template));
        found.and_then(|v| v.persistent_volume_claim.as_ref()).is_some_and(|source| source.claim_name == wanted)
    })
}

/// Whose a claim is to be.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Owners {
    set: bool,
    pod: bool,
}

impl Owners {
    fn wanted(set: &StatefulSet, ordinal: i32) -> Self {
        let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
        let deletes = |when: Option<&String>| when.is_some_and(|policy| policy == "Delete");
        let when_deleted = deletes(policy.and_then(|p| p.when_deleted.as_ref()));
        let when_scaled = deletes(policy.and_then(|p| p.when_scaled.as_ref()));
        let scaled_down = !identity::range(set).contains(&ordinal);
        Self { set: when_deleted && !(when_scaled && scaled_down), pod: when_scaled && scaled_down }
    }
}

/// Some policy deletes claims: then nobody else may manage them.
fn deletes(set: &StatefulSet) -> bool {
    let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
    policy.is_some_and(|p| [&p.when_deleted, &p.when_scaled].into_iter().flatten().any(|when| when == "Delete"))
}

fn names<O: Typed>(reference: &OwnerReference, owner: &O) -> bool {
    reference.api_version == O::API_VERSION && reference.kind == O::KIND && reference.name == owner.name()
}

fn references(claim: &PersistentVolumeClaim) -> &[OwnerReference] {
    claim.metadata.owner_references.as_deref().unwrap_or_default()
}

/// A reference to one of this name that is no more.
fn is_stale<O: Typed>(claim: &PersistentVolumeClaim, owner: &O) -> bool {
    references(claim).iter().find(|r| names(r, owner)).is_some_and(|r| r.uid != owner.uid())
}

fn has_other_controller(claim: &PersistentVolumeClaim, set: &StatefulSet, pod: &Pod) -> bool {
    deletes(set)
        && references(claim).iter().any(|r| {
            let ours =
                [names(r, set).then(|| r.uid == Typed::uid(set)), names(r, pod).then(|| r.uid == Typed::uid(pod))];
            ours.into_iter().flatten().next().map_or(r.controller == Some(true), |same| !same)
        })
}

/// The claims' owners as the set's policy wants them: an update for each that is not so.
pub fn owner_updates(set: &StatefulSet, pod: &Pod, ordinal: i32, view: &View) -> (Vec<Write>, Vec<Note>) {
    let (mut writes, mut notes) = (Vec::new(), Vec::new());
    for claim in existing(set, ordinal, view) {
        if is_up_to_date(claim, set, pod, ordinal) {
            continue;
        }
        if has_other_controller(claim, set, pod) {
            let name = Typed::name(&**claim);
            let text = format!(
                "PersistentVolumeClaim {name} has a conflicting OwnerReference that acts as a manging controller, \
                 the retention policy is ignored for this claim"
            );
            notes.push(Note::warning(set, "ConflictingController", text));
        }
        writes.push(Write::update(&with_owners(claim, set, pod, ordinal)));
    }
    (writes, notes)
}

fn is_up_to_date(claim: &PersistentVolumeClaim, set: &StatefulSet, pod: &Pod, ordinal: i32) -> bool {
    // What an earlier set or pod of the name owns is left to the garbage collector.
    if is_stale(claim, set) || is_stale(claim, pod) {
        return true;
    }
    let reference = |uid: &str| references(claim).iter().find(|r| r.uid == uid);
    let (of_set, of_pod) = (reference(Typed::uid(set)), reference(Typed::uid(pod)));
    if has_other_controller(claim, set, pod) {
        return of_set.is_none() && of_pod.is_none();
    }
    let controls = [of_set, of_pod].into_iter().flatten().all(|r| r.controller == Some(true));
    let have = Owners { set: of_set.is_some(), pod: of_pod.is_some() };
    controls && have == Owners::wanted(set, ordinal)
}

fn with_owners(claim: &PersistentVolumeClaim, set: &StatefulSet, pod: &Pod, ordinal: i32) -> PersistentVolumeClaim {
    let mut owners: Vec<OwnerReference> =
        references(claim).iter().filter(|r| !names(r, set) && !names(r, pod)).cloned().collect();
    if !has_other_controller(claim, set, pod) {
        let wanted = Owners::wanted(set, ordinal);
        owners.extend(wanted.set.then(|| controller_reference(set)));
        owners.extend(wanted.pod.then(|| controller_reference(pod)));
    }
    let mut claim = claim.clone();
    claim.metadata.owner_references = (!owners.is_empty()).then_some(owners);
    claim
}

/// A claim that belongs to an earlier pod of this name: it goes with that one, so a new pod waits.
pub fn block_creation(set: &StatefulSet, pod: &Pod, ordinal: i32, view: &View) -> bool {
    let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
    let kept = policy.and_then(|p| p.when_scaled.as_deref()) != Some("Delete");
    !kept && existing(set, ordinal, view).any(|claim| is_stale(claim, pod))
}
