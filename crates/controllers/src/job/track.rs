//! Counting pods that have ended, each exactly once.

use std::collections::BTreeSet;

use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::batch::v1::{JobCondition, JobSpec, JobStatus};
use orlop_api::typed::kinds::{Job, Pod};
use orlop_client::engine::{Note, Plan, Step, Write};

use super::sync::Sync;
use super::{failure_policy, finish, pod};
use crate::common::{nonzero, pods};

/// Pods written down as uncounted at a time: keeps the status below some 20 KB.
const MAX_UNCOUNTED: usize = 500;

/// A failure that a policy ignores does not count.
pub fn counts_as_failed(spec: &JobSpec, pod: &Pod) -> bool {
    spec.pod_failure_policy.as_ref().is_none_or(|policy| failure_policy::verdict(policy, pod).counts)
}

/// Adds the status, and the removal of finalizers of what the status then tells.
pub fn track(mut sync: Sync, mut plan: Plan) -> Plan {
    move_counted(&mut sync);
    let (uncounted, is_all) = write_down(&mut sync);
    tell_indexes(&mut sync);
    interim_condition(&mut sync);
    let is_last = uncounted.is_empty() && is_all && sync.terminating == 0 && has_counted_all(&sync.status);
    let end = sync.finished.take().filter(|_| is_last);
    if let Some(end) = end {
        plan.notes.extend(conclude(sync.job, &mut sync.status, end));
    }
    if sync.job.status.as_ref() != Some(&sync.status) {
        plan.write(Write::update_status(&Job { status: Some(sync.status), ..sync.job.clone() }));
    }
    if !uncounted.is_empty() && !sync.has_failed {
        plan.steps.push(Step::Together(uncounted.into_iter().map(pod::untrack).collect()));
    }
    plan
}

/// What was written down and has lost its finalizer, or is gone, moves into the counters.
fn move_counted(sync: &mut Sync) {
    let tracked: BTreeSet<&str> =
        sync.pods.iter().filter(|pod| pod::is_tracked(pod)).map(|pod| Typed::uid(*pod)).collect();
    let Some(uncounted) = &mut sync.status.uncounted_terminated_pods else { return };
    for (uids, counter) in
        [(&mut uncounted.succeeded, &mut sync.status.succeeded), (&mut uncounted.failed, &mut sync.status.failed)]
    {
        let all = uids.take().unwrap_or_default();
        let before = all.len();
        let left: Vec<String> = all.into_iter().filter(|uid| tracked.contains(uid.as_str())).collect();
        *counter = nonzero(counter.unwrap_or(0) + (before - left.len()) as i32);
        *uids = (!left.is_empty()).then_some(left);
    }
}

fn has_counted_all(status: &JobStatus) -> bool {
    status.uncounted_terminated_pods.as_ref().is_none_or(|u| u.succeeded.is_none() && u.failed.is_none())
}

/// Writes down pods that have ended. Returns those whose finalizer may go, and whether that is all.
fn write_down<'a>(sync: &mut Sync<'a>) -> (Vec<&'a Pod>, bool) {
    let mut done = Vec::new();
    let mut new = 0;
    let mut pods: Vec<&Pod> = sync.pods.iter().copied().filter(|pod| pod::is_tracked(pod)).collect();
    if sync.is_indexed() {
        pods.sort_by_key(|pod| pod::index(pod));
    }
    for pod in pods.into_iter().filter(|pod| may_be_counted(sync, pod)).collect::<Vec<_>>() {
        done.push(pod);
        new += usize::from(note(sync, pod));
        if new >= MAX_UNCOUNTED {
            return (done, false);
        }
    }
    (done, true)
}

/// The pod has ended, or is going to with its Job.
fn may_be_counted(sync: &Sync, pod: &Pod) -> bool {
    if sync.job.metadata.deletion_timestamp.is_some() || sync.finished.is_some() || pods::phase(pod) == "Succeeded" {
        return true;
    }
    sync.is_failed(pod) && !sync.awaiting_replacement.iter().any(|(_, waiting)| Typed::uid(*waiting) == Typed::uid(pod))
}

/// Adds the pod to the uncounted, where it belongs there. Whether it does.
fn note(sync: &mut Sync, pod: &Pod) -> bool {
    let uncounted = sync.status.uncounted_terminated_pods.clone().unwrap_or_default();
    let uid = Typed::uid(pod).to_owned();
    let is_known = |list: &Option<Vec<String>>| list.iter().flatten().any(|known| *known == uid);
    let is_met = sync.finished.as_ref().is_some_and(|c| c.type_ == "SuccessCriteriaMet");
    let fails = sync.is_failed(pod) || sync.finished.is_some() && !is_met;
    let succeeded = pods::phase(pod) == "Succeeded" && !is_known(&uncounted.failed);
    let list = |sync: &mut Sync, succeeds: bool| {
        let uncounted = sync.status.uncounted_terminated_pods.get_or_insert_default();
        let list = if succeeds { &mut uncounted.succeeded } else { &mut uncounted.failed };
        list.get_or_insert_default().push(uid.clone());
        true
    };
    if succeeded {
        // An index tells that it has succeeded; no uid needs to be remembered.
        return if sync.is_indexed() {
            sync.index(pod).is_some_and(|index| !sync.told_indexes.contains(index))
        } else {
            !is_known(&uncounted.succeeded) && list(sync, true)
        };
    }
    fails
        && !is_known(&uncounted.failed)
        && sync.is_countable(pod)
        && counts_as_failed(sync.spec, pod)
        && list(sync, false)
}

fn tell_indexes(sync: &mut Sync) {
    if !sync.is_indexed() {
        return;
    }
    sync.status.succeeded = nonzero(sync.succeeded_indexes.total());
    let text = sync.succeeded_indexes.to_string();
    sync.status.completed_indexes = (!text.is_empty()).then_some(text);
    sync.status.failed_indexes = sync.failed_indexes.as_ref().map(ToString::to_string);
}

/// The reason of the end is told before finalizers go; what follows is the end itself.
fn interim_condition(sync: &mut Sync) {
    let Some(finished) = &mut sync.finished else { return };
    let end = match finished.type_.as_str() {
        "FailureTarget" => "Failed",
        "SuccessCriteriaMet" => "Complete",
        _ => return,
    };
    let conditions = sync.status.conditions.get_or_insert_default();
    if !conditions.iter().any(|c| c.type_ == finished.type_) {
        conditions.push(finished.clone());
    }
    let (reason, message) = (finished.reason.clone().unwrap_or_default(), finished.message.clone().unwrap_or_default());
    *finished = finish::condition(end, &reason, &message, sync.now);
}

/// The Job is over.
fn conclude(job: &Job, status: &mut JobStatus, end: JobCondition) -> Vec<Note> {
    let mut notes = Vec::new();
    if end.type_ == "Complete" {
        status.completion_time.clone_from(&end.last_transition_time);
        let wanted = job.spec.as_ref().and_then(|s| s.completions);
        if wanted.is_some_and(|wanted| status.succeeded.unwrap_or(0) > wanted) {
            let text = "Too many succeeded pods running after completion count reached";
            notes.push(Note::warning(job, "TooManySucceededPods", text));
        }
        notes.push(Note::normal(job, "Completed", "Job completed"));
    } else {
        let message = end.message.clone().unwrap_or_default();
        let reason = reason(end.reason.as_deref().unwrap_or_default());
        notes.push(Note::warning(job, reason, message));
    }
    status.conditions.get_or_insert_default().push(end);
    notes
}

/// Reasons of failure are reasons of its event.
fn reason(text: &str) -> &'static str {
    const ALL: [&str; 5] =
        ["PodFailurePolicy", "BackoffLimitExceeded", "DeadlineExceeded", "MaxFailedIndexesExceeded", "FailedIndexes"];
    ALL.into_iter().find(|known| *known == text).unwrap_or("Failed")
}
