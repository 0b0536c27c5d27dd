//! Deployment: roll a template out over ReplicaSets, old ones down while the new one goes up
//! (`pkg/controller/deployment`).
//!
//! One decision works on copies of what it saw ([`rollout::Rollout`]) and writes each changed
//! object once at the end: ReplicaSets in the order they were touched, then the status.

mod progress;
mod recreate;
mod revision;
mod rollback;
mod rolling;
mod rollout;
mod scaling;
mod template;
#[cfg(test)]
pub(crate) mod tests;

use jiff::Timestamp;
use orlop_api::selector::Selector;
use orlop_api::typed::kinds::{Deployment, Pod, ReplicaSet};
use orlop_client::cache::Delta;
use orlop_client::engine::{Controller, Grant, Key, Note, Plan, Source, Step, View, Write};

use crate::common::owners::{by_controller, claim, controller_of, owned_and_orphans, wake_owner};
use crate::common::pods;
use rollout::Rollout;

pub fn controller() -> Controller {
    let sources = vec![
        Source::subject::<Deployment>(),
        Source::indexed::<ReplicaSet>(vec![by_controller()], |delta, view, wake| {
            wake_owner::<Deployment, ReplicaSet>(delta, view, wake, selector);
        }),
        Source::indexed::<Pod>(vec![by_controller()], wake_for_stopped_pod),
    ];
    let mut grants = vec![
        Grant::new("apps", &["deployments"], &["get", "list", "watch", "update"]),
        Grant::new("apps", &["deployments/status"], &["update"]),
        Grant::new("apps", &["deployments/finalizers"], &["update"]),
        Grant::new("apps", &["replicasets"], &["get", "list", "watch", "create", "update", "patch", "delete"]),
        Grant::new("", &["pods"], &["get", "list", "update", "watch"]),
    ];
    grants.extend(Grant::EVENTS);
    Controller::new("deployment-controller", "deployment", sources, grants, decide)
}

fn selector(deployment: &Deployment) -> Selector {
    Selector::from_typed(&deployment.spec.selector).unwrap_or_else(|_| Selector::nothing())
}

/// Recreate waits until old pods have stopped; nothing else here looks at pods.
fn wake_for_stopped_pod(delta: &Delta<Pod>, view: &View, wake: &mut dyn FnMut(Key)) {
    let pod = delta.object();
    let stopped = delta.new.as_ref().is_none_or(|pod| pods::is_finished(pod));
    let Some(owner) = controller_of(&**pod).filter(|o| stopped && o.kind == "ReplicaSet") else { return };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let set =
        view.of::<ReplicaSet>().get(namespace, &owner.name).filter(|rs| rs.metadata.uid.as_ref() == Some(&owner.uid));
    let Some(owner) = set.and_then(|rs| controller_of(&**rs)).filter(|o| o.kind == "Deployment") else { return };
    if let Some(deployment) = view.of::<Deployment>().get(namespace, &owner.name)
        && rollout::strategy(deployment) == "Recreate"
    {
        wake(Key::of(&**deployment));
    }
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let Some(deployment) = view.subject::<Deployment>(key) else { return Plan::none() };
    let selector = selector(deployment);
    if selector.is_empty() {
        return selects_all(deployment);
    }
    let claim = claim(&**deployment, &selector, owned_and_orphans::<Deployment, ReplicaSet>(view, deployment));
    let mut rollout = Rollout::new(deployment, claim.mine.into_iter().cloned().collect(), now);
    if let Some(failure) = view.failure().filter(|f| f.reason != "AlreadyExists") {
        // A name that is taken shows as a collision once the cache has it; all else is told.
        return match (failure.verb, failure.resource.as_str()) {
            ("create", "replicasets") => rollout.report_failure(failure),
            _ => Plan::none(),
        };
    }
    if !claim.writes.is_empty() {
        rollout.plan.steps.push(Step::Together(claim.writes));
    }
    rollout.sync_revision();
    if deployment.metadata.deletion_timestamp.is_some() {
        return rollout.finish_counting();
    }
    rollout.note_pause();
    if deployment.spec.paused == Some(true) {
        return rollout.hold();
    }
    if let Some(revision) = rollback::wanted(deployment) {
        return rollout.roll_back(revision, view);
    }
    if rollout.was_scaled() && rollout.size_sets() {
        return rollout.finish_counting();
    }
    match rollout::strategy(deployment) {
        "Recreate" => rollout.recreate(view),
        _ => rollout.roll(view),
    }
}

/// Validation does not let it through; an old object may still be so.
fn selects_all(deployment: &Deployment) -> Plan {
    let mut plan = Plan::none();
    let mut status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        status.observed_generation = deployment.metadata.generation;
        let text = "This deployment is selecting all pods. A non-empty selector is required.";
        plan.note(Note::warning(deployment, "SelectingAll", text));
        plan.write(Write::update_status(&Deployment { status: Some(status), ..deployment.clone() }));
    }
    plan
}
