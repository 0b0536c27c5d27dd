//! CronJob: a Job at each time of a schedule (`pkg/controller/cronjob`).
//!
//! A Job is named after its time, so none is made twice. That it was made is told in the status by the
//! decision after, once its uid is known.

mod history;
mod status;
#[cfg(test)]
pub(crate) mod tests;
mod times;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use orlop_api::cron::{self, Schedule};
use orlop_api::selector::Selector;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_api::typed::kinds::{CronJob, Job};
use orlop_client::engine::{Controller, Grant, Key, Note, Plan, Source, Step, View, Write};
use orlop_client::{Client, DeleteOptions, Propagation};

use crate::common::owners::{by_controller, controller_reference, owned, wake_owner};
use status::Status;

/// Where the Job's own time stands.
const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

pub fn controller() -> Controller {
    let sources = vec![
        Source::subject::<CronJob>(),
        Source::indexed::<Job>(vec![by_controller()], |delta, view, wake| {
            wake_owner::<CronJob, Job>(delta, view, wake, |_| Selector::nothing());
        }),
    ];
    let mut grants = vec![
        Grant::new("batch", &["cronjobs"], &["get", "list", "watch", "update"]),
        Grant::new("batch", &["jobs"], &["get", "list", "watch", "create", "update", "delete", "patch"]),
        Grant::new("batch", &["cronjobs/status"], &["update"]),
        Grant::new("batch", &["cronjobs/finalizers"], &["update"]),
        Grant::new("", &["pods"], &["list", "watch", "delete"]),
    ];
    grants.extend(Grant::EVENTS);
    let mut controller = Controller::new("cronjob-controller", "cronjob", sources, grants, decide);
    controller.look = Some(Box::new(look));
    controller
}

/// Active Jobs by uid that the cache does not have, but the server does.
struct Present(Vec<String>);

/// The time zone that the CronJob names, or why there is none.
struct Zone(Result<TimeZone, String>);

/// A Job that is told to be active and is not in the cache may only be too new for it. Time zones are the
/// machine's to know.
fn look(client: Client, key: Key, view: View) -> BoxFuture<'static, orlop_client::Result<View>> {
    Box::pin(async move {
        let Some(cron_job) = view.subject::<CronJob>(&key) else { return Ok(view) };
        let known: Vec<String> =
            owned::<Job>(&view, Typed::uid(&**cron_job)).map(|job| Typed::uid(&**job).to_owned()).collect();
        let active = cron_job.status.iter().flat_map(|s| s.active.iter().flatten());
        let missing: Vec<(String, String)> = active
            .filter_map(|job| Some((job.name.clone()?, job.uid.clone()?)))
            .filter(|(_, uid)| !known.contains(uid))
            .collect();
        let (jobs, mut present) = (client.api::<Job>(key.namespace()), Vec::new());
        for (name, uid) in missing {
            if jobs.get_opt(&name).await?.is_some() {
                present.push(uid);
            }
        }
        let zone = cron::time_zone(cron_job.spec.time_zone.as_deref().unwrap_or_default());
        Ok(view.with(Present(present)).with(Zone(zone)))
    })
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(cron_job) = view.subject::<CronJob>(key) else { return plan };
    let jobs: Vec<&Arc<Job>> = owned::<Job>(view, Typed::uid(&**cron_job)).collect();
    let mut status = Status::new(cron_job);
    let present = view.facts::<Present>().map_or(&[][..], |present| &present.0);
    status.follow(&jobs, present, &mut plan);
    if cron_job.metadata.deletion_timestamp.is_none() {
        start_due(cron_job, view, &mut status, now, &mut plan);
    }
    let old = history::surplus(cron_job, &jobs);
    if !old.is_empty() && view.failure().is_none() {
        plan.steps.push(Step::Together(old.iter().map(|job| delete(cron_job, job)).collect()));
    }
    old.iter().for_each(|job| status.forget(Typed::uid(&***job)));
    if let Some(changed) = status.changed() {
        plan.write(Write::update_status(&changed));
    }
    plan
}

/// Makes the Job whose time has come, and asks to be woken at the next time.
fn start_due(cron_job: &CronJob, view: &View, status: &mut Status, now: Timestamp, plan: &mut Plan) {
    let zone = match view.facts::<Zone>().map_or(Ok(TimeZone::UTC), |zone| zone.0.clone()) {
        Ok(zone) => zone,
        Err(why) => {
            let name = cron_job.spec.time_zone.as_deref().unwrap_or_default();
            return plan.note(Note::warning(cron_job, "UnknownTimeZone", format!("invalid timeZone: {name:?}: {why}")));
        }
    };
    if cron_job.spec.suspend == Some(true) {
        return;
    }
    let text = cron_job.spec.schedule.as_str();
    let schedule = match Schedule::parse(text) {
        Ok(schedule) => schedule,
        Err(why) => {
            let text = format!("unparseable schedule: {text:?} : {why}");
            return plan.note(Note::warning(cron_job, "UnparseableSchedule", text));
        }
    };
    if text.contains("TZ") {
        let text = format!(
            "CRON_TZ or TZ used in schedule {text:?} is not officially supported, see \
             https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        );
        plan.note(Note::warning(cron_job, "UnsupportedSchedule", text));
    }
    let times = times::Times { cron_job, last: status.last_schedule(), schedule: &schedule, zone: &zone, now };
    match times.due() {
        Ok(Some(due)) => {
            if due.missed_many {
                let text =
                    "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
                plan.note(Note::warning(cron_job, "TooManyMissedTimes", text));
            }
            start(cron_job, view, status, due.at, &zone, now, plan);
        }
        Ok(None) => {}
        Err(why) => {
            let text = format!("invalid schedule: {text} : {why}");
            return plan.note(Note::warning(cron_job, "InvalidSchedule", text));
        }
    }
    if let Some(next) = times.next_look() {
        plan.wake_by(next);
    }
}

/// The Job of one time, unless that time has passed, its Job is there, or another is in the way.
fn start(
    cron_job: &CronJob,
    view: &View,
    status: &mut Status,
    at: Timestamp,
    zone: &TimeZone,
    now: Timestamp,
    plan: &mut Plan,
) {
    let deadline = cron_job.spec.starting_deadline_seconds;
    if deadline.is_some_and(|seconds| at.as_second().saturating_add(seconds) < now.as_second()) {
        let told = at.strftime("%a, %d %b %Y %H:%M:%S +0000");
        let text = format!("Missed scheduled time to start a job: {told}");
        return plan.note(Note::warning(cron_job, "MissSchedule", text));
    }
    let name = job_name(cron_job, at);
    let exists = view.of::<Job>().get(Typed::namespace(cron_job), &name).is_some();
    if exists || status.is_active(&name) || status.last_schedule() == Some(at) || view.failure().is_some() {
        return;
    }
    match cron_job.spec.concurrency_policy.as_deref() {
        Some("Forbid") if status.has_active() => {
            let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
            return plan.note(Note::normal(cron_job, "JobAlreadyActive", text));
        }
        Some("Replace") => {
            let active: Vec<&Arc<Job>> =
                owned::<Job>(view, Typed::uid(cron_job)).filter(|job| status.is_active(Typed::name(&***job))).collect();
            if !active.is_empty() {
                plan.steps.push(Step::Together(active.iter().map(|job| delete(cron_job, job)).collect()));
            }
            active.iter().for_each(|job| status.forget(Typed::uid(&***job)));
        }
        _ => {}
    }
    plan.write(
        Write::create(&job(cron_job, name, at, zone))
            .done(Note::normal(cron_job, "SuccessfulCreate", "Created job {name}"))
            .failed(Note::warning(cron_job, "FailedCreate", "Error creating job: {error}")),
    );
}

/// Named after the minute.
fn job_name(cron_job: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", Typed::name(cron_job), at.as_second().div_euclid(60))
}

fn job(cron_job: &CronJob, name: String, at: Timestamp, zone: &TimeZone) -> Job {
    let template = cron_job.spec.job_template.clone();
    let made = template.metadata.unwrap_or_default();
    let mut annotations = made.annotations.unwrap_or_default();
    let local = at.to_zoned(zone.clone());
    let told =
        if local.offset().seconds() == 0 { at.to_string() } else { local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string() };
    annotations.insert(SCHEDULED_AT.to_owned(), told);
    let metadata = ObjectMeta {
        name: Some(name),
        namespace: cron_job.metadata.namespace.clone(),
        labels: made.labels,
        annotations: Some(annotations),
        owner_references: Some(vec![controller_reference(cron_job)]),
        ..ObjectMeta::default()
    };
    Job { metadata, spec: template.spec, status: None }
}

fn delete(cron_job: &CronJob, job: &Job) -> Write {
    let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
    Write::delete_with(job, options)
        .done(Note::normal(cron_job, "SuccessfulDelete", format!("Deleted job {}", Typed::name(job))))
        .failed(Note::warning(cron_job, "FailedDelete", "Deleted job: {error}"))
}
