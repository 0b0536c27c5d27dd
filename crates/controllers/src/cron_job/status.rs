//! Which Jobs run, when the last one was due, when the last one succeeded.

use std::sync::Arc;

use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::batch::v1::CronJobStatus;
use orlop_api::typed::k8s_openapi::api::core::v1::ObjectReference;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use orlop_api::typed::kinds::{CronJob, Job};
use orlop_client::engine::{Note, Plan};

/// `Complete` or `Failed`, for a Job that is finished.
pub fn end(job: &Job) -> Option<&'static str> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let is = |kind: &str| conditions.iter().any(|c| c.type_ == kind && c.status == "True");
    ["Complete", "Failed"].into_iter().find(|kind| is(kind))
}

/// A CronJob's status under way.
pub struct Status<'a> {
    cron_job: &'a CronJob,
    status: CronJobStatus,
}

impl<'a> Status<'a> {
    pub fn new(cron_job: &'a CronJob) -> Self {
        Self { cron_job, status: cron_job.status.clone().unwrap_or_default() }
    }

    fn active(&self) -> &[ObjectReference] {
        self.status.active.as_deref().unwrap_or_default()
    }

    pub fn has_active(&self) -> bool {
        !self.active().is_empty()
    }

    pub fn is_active(&self, name: &str) -> bool {
        self.active().iter().any(|job| job.name.as_deref() == Some(name))
    }

    pub fn last_schedule(&self) -> Option<Timestamp> {
        self.status.last_schedule_time.as_ref().map(|t| t.0)
    }

    pub fn forget(&mut self, uid: &str) {
        let active = self.status.active.get_or_insert_default();
        active.retain(|job| job.uid.as_deref() != Some(uid));
        self.status.active = self.status.active.take().filter(|active| !active.is_empty());
    }

    /// Takes in what the Jobs tell. `present`: uids of active Jobs that only the server has.
    pub fn follow(&mut self, jobs: &[&Arc<Job>], present: &[String], plan: &mut Plan) {
        for job in jobs {
            let uid = Typed::uid(&***job);
            let known = self.active().iter().any(|active| active.uid.as_deref() == Some(uid));
            match end(job) {
                Some(kind) => self.finished(job, kind, known, plan),
                None if !known => self.running(job, plan),
                None => {}
            }
        }
        let is_there =
            |uid: &str| jobs.iter().any(|job| Typed::uid(&***job) == uid) || present.iter().any(|p| p == uid);
        let missing = self.active().iter().filter(|job| !is_there(job.uid.as_deref().unwrap_or_default()));
        for job in missing.cloned().collect::<Vec<_>>() {
            let text = format!("Active job went missing: {}", job.name.as_deref().unwrap_or_default());
            plan.note(Note::normal(self.cron_job, "MissingJob", text));
            self.forget(job.uid.as_deref().unwrap_or_default());
        }
    }

    /// One of ours that has just been made, or one that somebody else has made ours.
    fn running(&mut self, job: &Job, plan: &mut Plan) {
        if self.time_of(job).is_none() {
            let text = format!("Saw a job that the controller did not create or forgot: {}", Typed::name(job));
            return plan.note(Note::warning(self.cron_job, "UnexpectedJob", text));
        }
        self.scheduled(job);
        let mut reference = orlop_client::events::reference(job);
        reference.field_path = None;
        self.status.active.get_or_insert_default().push(reference);
    }

    fn finished(&mut self, job: &Job, kind: &str, was_active: bool, plan: &mut Plan) {
        self.scheduled(job);
        if was_active {
            let text = format!("Saw completed job: {}, condition: {kind}", Typed::name(job));
            plan.note(Note::normal(self.cron_job, "SawCompletedJob", text));
            self.forget(Typed::uid(job));
        }
        let completed = job.status.as_ref().and_then(|s| s.completion_time.clone()).filter(|_| kind == "Complete");
        later(&mut self.status.last_successful_time, completed);
    }

    /// The time the Job was made for has been served.
    fn scheduled(&mut self, job: &Job) {
        let time = self.time_of(job).map(Time);
        later(&mut self.status.last_schedule_time, time);
    }

    /// The minute that a Job of ours is named after.
    fn time_of(&self, job: &Job) -> Option<Timestamp> {
        let minutes = Typed::name(job).strip_prefix(Typed::name(self.cron_job))?.strip_prefix('-')?;
        Timestamp::from_second(minutes.parse::<i64>().ok()?.checked_mul(60)?).ok()
    }

    /// The CronJob with its new status, if that is news.
    pub fn changed(self) -> Option<CronJob> {
        let told = self.cron_job.status.clone().unwrap_or_default();
        (self.status != told).then(|| CronJob { status: Some(self.status), ..self.cron_job.clone() })
    }
}

fn later(known: &mut Option<Time>, new: Option<Time>) {
    if let Some(new) = new
        && known.as_ref().is_none_or(|known| *known < new)
    {
        *known = Some(new);
    }
}
