//! Volumes: free, bound, or left behind by their claim.

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::{ObjectReference, PersistentVolumeStatus};
use orlop_api::typed::kinds::{PersistentVolume, PersistentVolumeClaim};
use orlop_api::volumes::{BOUND_BY_CONTROLLER, claim_reference, has_annotation, volume_name};
use orlop_client::Client;
use orlop_client::cache::Delta;
use orlop_client::engine::{Controller, Key, Note, Plan, Source, View, Write};

use super::{EVENT_SOURCE, NAME, grants};
use crate::common::seconds;

const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

pub fn controller() -> Controller {
    let sources = vec![Source::subject::<PersistentVolume>(), Source::of::<PersistentVolumeClaim>(wake_for_claim)];
    let mut controller = Controller::new(NAME, "volumes", sources, grants(), decide);
    controller.event_source = EVENT_SOURCE;
    controller.look = Some(Box::new(look));
    controller
}

/// The volume a claim names, and those that name the claim.
fn wake_for_claim(delta: &Delta<PersistentVolumeClaim>, view: &View, wake: &mut dyn FnMut(Key)) {
    let claim = delta.object();
    delta
        .sides()
        .map(|claim| volume_name(claim))
        .filter(|name| !name.is_empty())
        .for_each(|name| wake(Key::new("", name)));
    let names = |volume: &PersistentVolume| {
        claim_reference(volume).is_some_and(|reference| {
            reference.name == claim.metadata.name && reference.namespace == claim.metadata.namespace
        })
    };
    view.of::<PersistentVolume>().iter().filter(|volume| names(volume)).for_each(|volume| wake(Key::of(&**volume)));
}

/// The claim that a volume is bound to, as the server has it.
struct Fresh(Option<PersistentVolumeClaim>);

/// A volume must not be given up because the cache does not know its claim yet.
fn look(client: Client, key: Key, view: View) -> BoxFuture<'static, orlop_client::Result<View>> {
    Box::pin(async move {
        let Some(volume) = view.subject::<PersistentVolume>(&key).cloned() else { return Ok(view) };
        let Some(reference) = claim_reference(&volume).filter(|reference| !uid(reference).is_empty()) else {
            return Ok(view);
        };
        if cached(reference, &view).is_some() || is_given_up(&volume) {
            return Ok(view);
        }
        let claims = client.api::<PersistentVolumeClaim>(reference.namespace.as_deref().unwrap_or_default());
        let found = claims.get_opt(reference.name.as_deref().unwrap_or_default()).await?;
        Ok(view.with(Fresh(found)))
    })
}

fn uid(reference: &ObjectReference) -> &str {
    reference.uid.as_deref().unwrap_or_default()
}

fn is_given_up(volume: &PersistentVolume) -> bool {
    matches!(volume.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Released" | "Failed"))
}

fn cached<'a>(reference: &ObjectReference, view: &'a View) -> Option<&'a PersistentVolumeClaim> {
    let part = |text: &'_ Option<String>| text.clone().unwrap_or_default();
    let found = view.of::<PersistentVolumeClaim>().get(&part(&reference.namespace), &part(&reference.name))?;
    (Typed::uid(&**found) == uid(reference)).then_some(&**found)
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(volume) = view.subject::<PersistentVolume>(key) else { return plan };
    let Some(reference) = claim_reference(volume).filter(|reference| !uid(reference).is_empty()) else {
        tell(volume, "Available", None, now, &mut plan);
        return plan;
    };
    let fresh = view.facts::<Fresh>().and_then(|fresh| fresh.0.as_ref()).filter(|c| Typed::uid(*c) == uid(reference));
    match cached(reference, view).or(fresh) {
        None => reclaim(volume, now, &mut plan),
        // The claim's own decision comes first.
        Some(claim) if volume_name(claim).is_empty() => {}
        Some(claim) if volume_name(claim) == Typed::name(&**volume) => tell(volume, "Bound", None, now, &mut plan),
        Some(_) if has_annotation(&**volume, PROVISIONED_BY) && policy(volume) == "Delete" => {
            reclaim(volume, now, &mut plan);
        }
        Some(_) => plan.write(Write::update(&unbound(volume))),
    }
    plan
}

fn policy(volume: &PersistentVolume) -> &str {
    volume.spec.as_ref().and_then(|s| s.persistent_volume_reclaim_policy.as_deref()).unwrap_or("Retain")
}

/// The claim is gone: what becomes of the volume is its policy's to say.
fn reclaim(volume: &PersistentVolume, now: Timestamp, plan: &mut Plan) {
    if !is_given_up(volume) {
        return tell(volume, "Released", None, now, plan);
    }
    // Who provisioned it deletes it; what nobody provisioned, nobody here can delete or scrub.
    if has_annotation(volume, PROVISIONED_BY) || volume.metadata.deletion_timestamp.is_some() {
        return;
    }
    let name = Typed::name(volume);
    let (reason, text) = match policy(volume) {
        "Delete" => (
            "VolumeFailedDelete",
            format!("error getting deleter volume plugin for volume {name:?}: no deletable volume plugin matched"),
        ),
        "Recycle" => ("VolumeFailedRecycle", "No recycler plugin found for the volume!".to_owned()),
        _ => return,
    };
    tell(volume, "Failed", Some((reason, text)), now, plan);
}

/// Free again, or, when it was made for the claim, waiting for it.
fn unbound(volume: &PersistentVolume) -> PersistentVolume {
    let mut unbound = volume.clone();
    let by_controller = has_annotation(volume, BOUND_BY_CONTROLLER);
    let spec = unbound.spec.get_or_insert_default();
    if by_controller {
        spec.claim_ref = None;
        unbound.metadata.annotations.get_or_insert_default().remove(BOUND_BY_CONTROLLER);
    } else if let Some(reference) = &mut spec.claim_ref {
        reference.uid = None;
    }
    unbound
}

/// Tells the phase, with an event and a message for one that is a failure.
fn tell(
    volume: &PersistentVolume,
    phase: &str,
    failure: Option<(&'static str, String)>,
    now: Timestamp,
    plan: &mut Plan,
) {
    let told = volume.status.clone().unwrap_or_default();
    let message = failure.as_ref().map(|(_, text)| text.clone());
    if told.phase.as_deref() == Some(phase) && told.message == message {
        return;
    }
    let since = if told.phase.as_deref() == Some(phase) { told.last_phase_transition_time } else { Some(seconds(now)) };
    let status = PersistentVolumeStatus {
        phase: Some(phase.to_owned()),
        message,
        reason: None,
        last_phase_transition_time: since,
    };
    plan.write(Write::update_status(&PersistentVolume { status: Some(status), ..volume.clone() }));
    plan.notes.extend(failure.map(|(reason, text)| Note::warning(volume, reason, text)));
}
