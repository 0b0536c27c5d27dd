//! Whether a Job is at its end, and why.

use jiff::{SignedDuration, Timestamp};
use orlop_api::typed::k8s_openapi::api::batch::v1::JobCondition;
use orlop_api::typed::kinds::{Job, Pod};
use orlop_client::engine::{Note, Plan};

use super::indexes::Intervals;
use super::sync::Sync;
use super::{failure_policy, pod, track};
use crate::common::{pods, seconds};

pub fn condition(kind: &str, reason: &str, message: &str, now: Timestamp) -> JobCondition {
    JobCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(seconds(now)),
        last_transition_time: Some(seconds(now)),
    }
}

fn find<'a>(conditions: Option<&'a Vec<JobCondition>>, kind: &str) -> Option<&'a JobCondition> {
    conditions?.iter().find(|c| c.type_ == kind)
}

/// The condition stands in the stored status.
pub fn is_true(job: &Job, kind: &str) -> bool {
    let conditions = job.status.as_ref().and_then(|s| s.conditions.as_ref());
    find(conditions, kind).is_some_and(|c| c.status == "True")
}

/// Sets `sync.finished`. What earlier decisions found stands; then failures, then successes.
pub fn evaluate(sync: &mut Sync, plan: &mut Plan) {
    let conditions = sync.status.conditions.as_ref();
    let standing = |kind: &str| find(conditions, kind).filter(|c| c.status == "True");
    let again = |kind: &str, c: &JobCondition| {
        condition(kind, c.reason.as_deref().unwrap_or_default(), c.message.as_deref().unwrap_or_default(), sync.now)
    };
    let finished = if let Some(met) = standing("SuccessCriteriaMet") {
        Some(met.clone())
    } else if let Some(target) = standing("FailureTarget") {
        Some(again("Failed", target))
    } else {
        failure(sync, plan)
    };
    sync.finished = finished;
    if sync.is_indexed() {
        indexed(sync);
    }
}

fn failure(sync: &Sync, plan: &mut Plan) -> Option<JobCondition> {
    let target = |reason: &str, message: &str| Some(condition("FailureTarget", reason, message, sync.now));
    if let Some(message) = policy_message(sync) {
        return target("PodFailurePolicy", &message);
    }
    if sync.failed > sync.backoff_limit() || restarts_exceed_limit(sync) {
        return target("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    let deadline = deadline(sync)?;
    if deadline <= sync.now {
        return target("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    plan.wake_by(deadline);
    None
}

fn policy_message(sync: &Sync) -> Option<String> {
    let policy = sync.spec.pod_failure_policy.as_ref()?;
    let mut failed = sync.pods.iter().filter(|pod| sync.is_failed(pod));
    failed.find_map(|pod| failure_policy::verdict(policy, pod).job_message)
}

/// With restartPolicy OnFailure it is containers that start over, in one pod.
fn restarts_exceed_limit(sync: &Sync) -> bool {
    if sync.spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref()) != Some("OnFailure") {
        return false;
    }
    let alive = sync.pods.iter().filter(|pod| matches!(pods::phase(pod), "Running" | "Pending"));
    let statuses = alive.filter_map(|pod| pod.status.as_ref()).flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    });
    let restarts: i32 = statuses.map(|container| container.restart_count).sum();
    if sync.backoff_limit() == 0 { restarts > 0 } else { restarts >= sync.backoff_limit() }
}

fn deadline(sync: &Sync) -> Option<Timestamp> {
    let allowed = sync.spec.active_deadline_seconds.filter(|_| !sync.is_suspended())?;
    let started = sync.status.start_time.as_ref()?;
    started.0.checked_add(SignedDuration::from_secs(allowed)).ok()
}

fn indexed(sync: &mut Sync) {
    let completions = sync.completions();
    sync.told_indexes = Intervals::parse(sync.status.completed_indexes.as_deref().unwrap_or_default(), completions);
    let new = sync.pods.iter().filter(|pod| sync.is_countable(pod) && pods::phase(pod) == "Succeeded");
    let new: Vec<i32> = new.filter_map(|pod| sync.index(pod)).collect();
    sync.succeeded_indexes = sync.told_indexes.with(new);
    sync.succeeded = sync.succeeded_indexes.total();
    if sync.spec.backoff_limit_per_index.is_some() {
        per_index(sync);
    }
    if sync.finished.is_none()
        && let Some(message) = success_policy(sync)
    {
        sync.finished = Some(condition("SuccessCriteriaMet", "SuccessPolicy", &message, sync.now));
    }
}

/// `backoffLimitPerIndex`: an index fails by itself, and the Job when too many have.
fn per_index(sync: &mut Sync) {
    let told = Intervals::parse(sync.status.failed_indexes.as_deref().unwrap_or_default(), sync.completions());
    let new = sync.pods.iter().filter(|pod| sync.is_countable(pod) && is_index_failed(sync, pod));
    let failed = told.with(new.filter_map(|pod| sync.index(pod)).collect());
    if sync.finished.is_none() {
        let target = |reason: &str, message: &str| Some(condition("FailureTarget", reason, message, sync.now));
        let done = failed.total() + sync.succeeded_indexes.total();
        sync.finished = if sync.spec.max_failed_indexes.is_some_and(|max| failed.total() > max) {
            target("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes")
        } else if failed.total() > 0 && done >= sync.completions() {
            target("FailedIndexes", "Job has failed indexes")
        } else {
            None
        };
    }
    sync.failed_indexes = Some(failed);
    sync.awaiting_replacement = awaiting_replacement(sync);
}

fn is_index_failed(sync: &Sync, pod: &Pod) -> bool {
    if !sync.is_failed(pod) {
        return false;
    }
    let fails_index =
        sync.spec.pod_failure_policy.as_ref().is_some_and(|policy| failure_policy::verdict(policy, pod).fails_index);
    let limit = sync.spec.backoff_limit_per_index.unwrap_or(i32::MAX);
    fails_index || track::counts_as_failed(sync.spec, pod) && pod::index_failures(pod).counted >= limit
}

/// The last failed pod of each index that is to be tried again: its finalizer stays, and with it the
/// annotation, until the next pod has taken over the count.
fn awaiting_replacement<'a>(sync: &Sync<'a>) -> Vec<(i32, &'a Pod)> {
    let is_active = |index: i32| sync.active.iter().any(|pod| pod::index(pod) == Some(index));
    let is_over = |index: i32| {
        sync.succeeded_indexes.contains(index)
            || sync.failed_indexes.as_ref().is_some_and(|failed| failed.contains(index))
    };
    let mut last: Vec<(i32, &Pod)> = Vec::new();
    for pod in sync.pods.iter().copied().filter(|pod| sync.is_countable(pod) && sync.is_failed(pod)) {
        let Some(index) = sync.index(pod).filter(|index| !is_over(*index) && !is_active(*index)) else { continue };
        let order = |pod: &Pod| (pod::index_failures(pod).total(), super::backoff::finished_at(pod));
        match last.iter_mut().find(|(known, _)| *known == index) {
            Some((_, known)) if order(known) <= order(pod) => *known = pod,
            Some(_) => {}
            None => last.push((index, pod)),
        }
    }
    last
}

fn success_policy(sync: &Sync) -> Option<String> {
    let rules = &sync.spec.success_policy.as_ref()?.rules;
    let succeeded = &sync.succeeded_indexes;
    let is_met = |rule: &orlop_api::typed::k8s_openapi::api::batch::v1::SuccessPolicyRule| {
        let enough = |have: i32| rule.succeeded_count.is_some_and(|count| have >= count);
        match &rule.succeeded_indexes {
            Some(text) => {
                let required = Intervals::parse(text, sync.completions());
                let have = required.shared(succeeded);
                required.total() > 0 && (have == required.total() || enough(have))
            }
            None => enough(succeeded.total()),
        }
    };
    let met = rules.iter().position(is_met).filter(|_| succeeded.total() > 0)?;
    Some(format!("Matched rules at index {met}"))
}

/// Tells that the Job was suspended or goes on. Its time counts from when it last went on.
pub fn suspend_or_resume(sync: &mut Sync, plan: &mut Plan) {
    let conditions = sync.status.conditions.get_or_insert_default();
    let known = conditions.iter_mut().find(|c| c.type_ == "Suspended");
    let suspended = sync.spec.suspend.unwrap_or(false);
    let (status, reason, message) =
        if suspended { ("True", "JobSuspended", "Job suspended") } else { ("False", "JobResumed", "Job resumed") };
    let new = JobCondition { status: status.to_owned(), ..condition("Suspended", reason, message, sync.now) };
    match known {
        Some(known) if known.status == status => return,
        Some(known) => *known = new,
        None if suspended => conditions.push(new),
        None => {
            sync.status.conditions = sync.status.conditions.take().filter(|c| !c.is_empty());
            return;
        }
    }
    sync.status.start_time = (!suspended).then(|| seconds(sync.now));
    plan.note(Note::normal(sync.job, if suspended { "Suspended" } else { "Resumed" }, message));
}
