//! Claims: finding a volume, naming it, telling about it.

use jiff::Timestamp;
use orlop_api::pods::{is_finished, node_name};
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::PersistentVolumeClaimStatus;
use orlop_api::typed::kinds::{PersistentVolume, PersistentVolumeClaim, Pod, StorageClass};
use orlop_api::volumes::{self, BIND_COMPLETED, BOUND_BY_CONTROLLER, SELECTED_NODE, has_annotation};
use orlop_client::cache::Delta;
use orlop_client::engine::{Controller, Key, Note, Plan, Source, View, Write};

use super::super::{BY_CLAIM, claim_names};
use super::{EVENT_SOURCE, NAME, grants};

const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const OLD_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";
const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

pub fn controller() -> Controller {
    let classes = Source::of::<StorageClass>(|_, view, wake| pending(view, wake));
    let pods = Source::indexed::<Pod>(vec![BY_CLAIM], |delta, _, wake| {
        // A pod that waits changes only what a claim is told to wait for.
        if delta.old.is_none() {
            let pod = delta.object();
            claim_names(pod).for_each(|claim| wake(Key::new(Typed::namespace(&**pod), &claim)));
        }
    });
    let sources = vec![
        Source::subject::<PersistentVolumeClaim>(),
        Source::of::<PersistentVolume>(wake_for_volume),
        classes,
        pods,
    ];
    let mut controller = Controller::new(NAME, "claims", sources, grants(), decide);
    controller.event_source = EVENT_SOURCE;
    controller
}

fn pending(view: &View, wake: &mut dyn FnMut(Key)) {
    let all = view.of::<PersistentVolumeClaim>().iter();
    all.filter(|claim| !volumes::is_fully_bound(claim)).for_each(|claim| wake(Key::of(&**claim)));
}

/// The claim it names, or when it is free, whoever still looks for one.
fn wake_for_volume(delta: &Delta<PersistentVolume>, view: &View, wake: &mut dyn FnMut(Key)) {
    for volume in delta.sides() {
        if let Some(reference) = volumes::claim_reference(volume) {
            let part = |text: &Option<String>| text.clone().unwrap_or_default();
            wake(Key::new(&part(&reference.namespace), &part(&reference.name)));
        }
    }
    if delta.new.as_ref().is_none_or(|volume| volumes::claim_reference(volume).is_none()) {
        pending(view, wake);
    }
}

fn decide(key: &Key, view: &View, _now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(claim) = view.subject::<PersistentVolumeClaim>(key) else { return plan };
    match (has_annotation(&**claim, BIND_COMPLETED), volumes::volume_name(claim)) {
        (true, name) => bound(claim, name, view, &mut plan),
        (false, "") => look_for_volume(claim, view, &mut plan),
        (false, name) => wants(claim, name, view, &mut plan),
    }
    plan
}

/// Was bound once: is it still?
fn bound(claim: &PersistentVolumeClaim, name: &str, view: &View, plan: &mut Plan) {
    if name.is_empty() {
        let text = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        return lose(claim, "ClaimLost", text, plan);
    }
    let Some(volume) = view.of::<PersistentVolume>().get("", name) else {
        let text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        return lose(claim, "ClaimLost", text, plan);
    };
    let holder = volumes::claim_reference(volume).map(|reference| reference.uid.as_deref().unwrap_or_default());
    if holder.is_some_and(|uid| uid != Typed::uid(claim)) {
        let text = "Two claims are bound to the same volume, this one is bound incorrectly";
        return lose(claim, "ClaimMisbound", text, plan);
    }
    bind(claim, volume, plan);
}

fn lose(claim: &PersistentVolumeClaim, reason: &'static str, text: &str, plan: &mut Plan) {
    if tell(claim, status_of(claim, "Lost", None), plan) {
        plan.note(Note::warning(claim, reason, text));
    }
}

/// Asks for one volume by name.
fn wants(claim: &PersistentVolumeClaim, name: &str, view: &View, plan: &mut Plan) {
    let pending = |plan: &mut Plan| {
        tell(claim, status_of(claim, "Pending", None), plan);
    };
    let Some(volume) = view.of::<PersistentVolume>().get("", name) else { return pending(plan) };
    if volumes::claim_reference(volume).is_some() && !volumes::is_meant_for(volume, claim) {
        let text = format!("volume {name:?} already bound to a different claim.");
        plan.note(Note::warning(claim, "FailedBinding", text));
        return pending(plan);
    }
    let unfit = volumes::claim_reference(volume).is_none().then(|| unfit(volume, claim)).flatten();
    if let Some(why) = unfit {
        let text = format!("Cannot bind to requested volume {name:?}: {why}");
        plan.note(Note::warning(claim, "VolumeMismatch", text));
        return pending(plan);
    }
    bind(claim, volume, plan);
}

fn unfit(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
    if volume.metadata.deletion_timestamp.is_some() {
        return Some(format!("the volume is marked for deletion {:?}", Typed::name(volume)));
    }
    volumes::mismatch(volume, claim).map(str::to_owned)
}

/// Takes any volume that fits.
fn look_for_volume(claim: &PersistentVolumeClaim, view: &View, plan: &mut Plan) {
    let class_name = volumes::class_of_claim(claim);
    let class = view.of::<StorageClass>().get("", class_name).map(|class| &**class);
    let waits = class.and_then(|class| class.volume_binding_mode.as_deref()) == Some("WaitForFirstConsumer");
    let all = view.of::<PersistentVolume>().iter().map(|volume| &**volume);
    // While it waits for its first pod, the scheduler chooses: only what is meant for the claim counts.
    let free = |volume: &PersistentVolume| waits && volumes::claim_reference(volume).is_none();
    if let Some(volume) = volumes::best(claim, all, None, free) {
        return bind(claim, volume, plan);
    }
    if let Some(changed) = with_default_class(claim, view) {
        return plan.write(Write::update(&changed));
    }
    if waits && !has_annotation(claim, SELECTED_NODE) {
        let (reason, text) = waits_for(claim, view);
        plan.note(Note::normal(claim, reason, text));
    } else if !class_name.is_empty() {
        return provision(claim, class_name, class, plan);
    } else {
        let text = "no persistent volumes available for this claim and no storage class is set";
        plan.note(Note::normal(claim, "FailedBinding", text));
    }
    tell(claim, status_of(claim, "Pending", None), plan);
}

/// A claim that names no class at all gets the default one, also when that comes later (KEP-3333).
fn with_default_class(claim: &PersistentVolumeClaim, view: &View) -> Option<PersistentVolumeClaim> {
    let names_none = claim.spec.as_ref().is_none_or(|s| s.storage_class_name.is_none());
    if !names_none || !volumes::class_of_claim(claim).is_empty() {
        return None;
    }
    let is_default = |class: &StorageClass| {
        let annotations = class.metadata.annotations.as_ref();
        DEFAULT_CLASS.iter().any(|key| annotations.and_then(|a| a.get(*key)).is_some_and(|value| value == "true"))
    };
    let defaults = view.of::<StorageClass>().iter().filter(|class| is_default(class));
    let newest = defaults.min_by_key(|class| {
        let made = class.metadata.creation_timestamp.as_ref().map(|t| t.0);
        (std::cmp::Reverse(made), class.metadata.name.clone())
    })?;
    let mut changed = claim.clone();
    changed.spec.get_or_insert_default().storage_class_name.clone_from(&newest.metadata.name);
    Some(changed)
}

fn waits_for(claim: &PersistentVolumeClaim, view: &View) -> (&'static str, String) {
    let key = Key::of(claim);
    let pods = view.of::<Pod>().indexed(BY_CLAIM.name, key.as_str());
    let waiting: Vec<&str> =
        pods.filter(|pod| node_name(pod).is_none() && !is_finished(pod)).map(|pod| Typed::name(&**pod)).collect();
    match waiting[..] {
        [] => ("WaitForFirstConsumer", "waiting for first consumer to be created before binding".to_owned()),
        [only] => ("WaitForPodScheduled", format!("waiting for pod {only} to be scheduled")),
        _ => ("WaitForPodScheduled", format!("waiting for pods {} to be scheduled", waiting.join(","))),
    }
}

/// Somebody outside makes volumes of the class; the claim says who.
fn provision(claim: &PersistentVolumeClaim, name: &str, class: Option<&StorageClass>, plan: &mut Plan) {
    let Some(class) = class else {
        let text = format!("storageclass.storage.k8s.io {name:?} not found");
        plan.note(Note::warning(claim, "ProvisioningFailed", text));
        tell(claim, status_of(claim, "Pending", None), plan);
        return;
    };
    let provisioner = class.provisioner.as_str();
    if provisioner == volumes::NO_PROVISIONER {
        let text = "no persistent volumes available for this claim and no storage class is set";
        plan.note(Note::normal(claim, "FailedBinding", text));
        tell(claim, status_of(claim, "Pending", None), plan);
        return;
    }
    let told = claim.metadata.annotations.as_ref().and_then(|annotations| annotations.get(PROVISIONER));
    if told.map(String::as_str) != Some(provisioner) {
        let mut changed = claim.clone();
        let annotations = changed.metadata.annotations.get_or_insert_default();
        for key in [PROVISIONER, OLD_PROVISIONER] {
            annotations.insert(key.to_owned(), provisioner.to_owned());
        }
        return plan.write(Write::update(&changed));
    }
    let text = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
         system administrator. If volume creation is delayed, please verify that the provisioner is running and \
         correctly registered."
    );
    plan.note(Note::normal(claim, "ExternalProvisioning", text));
    tell(claim, status_of(claim, "Pending", None), plan);
}

/// The next step of binding the two to each other.
fn bind(claim: &PersistentVolumeClaim, volume: &PersistentVolume, plan: &mut Plan) {
    let reserved = volumes::bound_to(volume, claim);
    if reserved != *volume {
        plan.write(Write::update(&reserved));
    }
    let named = naming(claim, Typed::name(volume));
    if named != *claim {
        plan.write(Write::update(&named));
    }
    // Statuses follow once both are stored: the claim's by what the volume then is.
    if plan.steps.is_empty() {
        tell(claim, status_of(claim, "Bound", Some(volume)), plan);
    }
}

fn naming(claim: &PersistentVolumeClaim, volume: &str) -> PersistentVolumeClaim {
    let mut named = claim.clone();
    let by_controller = volumes::volume_name(claim) != volume;
    named.spec.get_or_insert_default().volume_name = Some(volume.to_owned());
    let annotations = named.metadata.annotations.get_or_insert_default();
    if by_controller {
        annotations.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
    }
    annotations.entry(BIND_COMPLETED.to_owned()).or_insert_with(|| "yes".to_owned());
    named
}

fn status_of(
    claim: &PersistentVolumeClaim,
    phase: &str,
    volume: Option<&PersistentVolume>,
) -> PersistentVolumeClaimStatus {
    let told = claim.status.clone().unwrap_or_default();
    let spec = volume.and_then(|volume| volume.spec.as_ref());
    let mut capacity = told.capacity.clone().filter(|_| volume.is_some());
    // A claim that is Bound grows only by whoever resizes it.
    if told.phase.as_deref() != Some("Bound") {
        capacity = spec.and_then(|spec| spec.capacity.clone());
    }
    PersistentVolumeClaimStatus {
        phase: Some(phase.to_owned()),
        access_modes: spec.and_then(|spec| spec.access_modes.clone()),
        capacity,
        ..told
    }
}

/// Whether that is news.
fn tell(claim: &PersistentVolumeClaim, status: PersistentVolumeClaimStatus, plan: &mut Plan) -> bool {
    let is_news = claim.status.as_ref() != Some(&status);
    if is_news {
        plan.write(Write::update_status(&PersistentVolumeClaim { status: Some(status), ..claim.clone() }));
    }
    is_news
}
