//! Job: run pods until enough of them have succeeded, or too many failed (`pkg/controller/job`).
//!
//! No pod is counted twice or forgotten: each carries a finalizer until it is counted. A pod that ends
//! is first written down in `status.uncountedTerminatedPods`, then loses its finalizer, then moves from
//! there into the counters (KEP-2307). Each of these is one decision, the fence keeps them in order.

mod backoff;
mod failure_policy;
mod finish;
mod indexes;
mod manage;
mod pod;
mod sync;
#[cfg(test)]
pub(crate) mod tests;
mod track;

use std::sync::Arc;

use jiff::Timestamp;
use orlop_api::selector::Selector;
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{Job, Pod};
use orlop_client::cache::{Delta, Index};
use orlop_client::engine::{Controller, Grant, Key, Note, Plan, Source, Step, View};

use crate::common::owners::{by_controller, claim_tracked, controller_of, owned_and_orphans, wake_owner};
use sync::Sync;

/// The value of `spec.managedBy` that means this controller.
const CONTROLLER_NAME: &str = "kubernetes.io/job-controller";

/// Files pods under the name of the Job that controls them, whether it is still there or not.
const BY_JOB: Index<Pod> =
    Index { name: "job", values: |pod| job_key(pod).map(|key| key.to_string()).into_iter().collect() };

pub fn controller() -> Controller {
    let sources = vec![Source::subject::<Job>(), Source::indexed::<Pod>(vec![by_controller(), BY_JOB], wake_for_pod)];
    let mut grants = vec![
        Grant::new("batch", &["jobs"], &["get", "list", "watch", "update", "patch"]),
        Grant::new("batch", &["jobs/status"], &["update"]),
        Grant::new("batch", &["jobs/finalizers"], &["update"]),
        Grant::new("", &["pods"], &["list", "watch", "create", "delete", "patch"]),
    ];
    grants.extend(Grant::EVENTS);
    Controller::new("job-controller", "job", sources, grants, decide)
}

fn selector(job: &Job) -> Selector {
    let selector = job.spec.as_ref().and_then(|s| s.selector.as_ref());
    selector.and_then(|s| Selector::from_typed(s).ok()).unwrap_or_else(Selector::nothing)
}

fn job_key(pod: &Pod) -> Option<Key> {
    let owner = controller_of(pod).filter(|owner| owner.kind == Job::KIND && owner.api_version == Job::API_VERSION)?;
    Some(Key::new(Typed::namespace(pod), &owner.name))
}

fn wake_for_pod(delta: &Delta<Pod>, view: &View, wake: &mut dyn FnMut(Key)) {
    wake_owner::<Job, Pod>(delta, view, wake, selector);
    let Some(pod) = delta.new.as_ref().filter(|pod| pod::is_tracked(pod)) else { return };
    // Its Job may be gone already; a pod that nobody owns any more is its own subject.
    wake(job_key(pod).unwrap_or_else(|| Key::of(&**pod)));
}

pub fn is_finished(job: &Job) -> bool {
    finish::is_true(job, "Complete") || finish::is_true(job, "Failed")
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let job = view.subject::<Job>(key);
    let mut plan = Plan::none();
    let foreign =
        |job: &Job| job.spec.as_ref().and_then(|s| s.managed_by.as_ref()).is_some_and(|m| m != CONTROLLER_NAME);
    if !job.is_some_and(|job| foreign(job)) {
        plan.steps.extend(release_orphans(key, view, job));
    }
    let Some(job) = job.filter(|job| !foreign(job) && !is_finished(job)) else { return plan };
    let mode = job.spec.as_ref().and_then(|s| s.completion_mode.as_deref()).unwrap_or("NonIndexed");
    if !matches!(mode, "NonIndexed" | "Indexed") {
        let text = "Skipped Job sync because completion mode is unknown";
        plan.note(Note::warning(&**job, "UnknownCompletionMode", text));
        return plan;
    }
    let candidates = owned_and_orphans::<Job, Pod>(view, job);
    let claim = claim_tracked(&**job, &selector(job), candidates, Some(pod::FINALIZER));
    if !claim.writes.is_empty() && view.failure().is_none() {
        // Counted once they are ours.
        plan.steps.push(Step::Together(claim.writes));
        return plan;
    }
    Sync::new(job, claim.mine.iter().map(|pod| &***pod).collect(), view.failure().is_some(), now).run(plan)
}

/// Pods that no living Job counts lose their finalizer: their Job is gone or finished, or they have
/// been let go.
fn release_orphans(key: &Key, view: &View, job: Option<&Arc<Job>>) -> Option<Step> {
    let counts = |pod: &Pod| {
        let alive = job.filter(|job| !is_finished(job));
        alive.is_some_and(|job| controller_of(pod).is_some_and(|owner| owner.uid == Typed::uid(&**job)))
    };
    let of_job = view.of::<Pod>().indexed(BY_JOB.name, key.as_str());
    let alone = view.subject::<Pod>(key).filter(|pod| controller_of(&***pod).is_none());
    let orphans = of_job.chain(alone).filter(|pod| pod::is_tracked(pod) && !counts(pod));
    let patches: Vec<_> = orphans.map(|pod| pod::untrack(pod)).collect();
    (!patches.is_empty()).then_some(Step::Together(patches))
}
