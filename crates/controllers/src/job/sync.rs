//! One decision about a Job that is not finished.

use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::batch::v1::{JobCondition, JobSpec, JobStatus, UncountedTerminatedPods};
use orlop_api::typed::kinds::{Job, Pod};
use orlop_client::engine::{Note, Plan, Step, Write};

use super::indexes::Intervals;
use super::{finish, manage, pod, track};
use crate::common::{nonzero, pods, seconds};

/// What upstream's defaults make of an absent limit.
const BACKOFF_LIMIT: i32 = 6;

pub struct Sync<'a> {
    pub job: &'a Job,
    pub spec: &'a JobSpec,
    pub pods: Vec<&'a Pod>,
    pub active: Vec<&'a Pod>,
    /// Succeeded, counted or not.
    pub succeeded: i32,
    /// Failed, counted or not.
    pub failed: i32,
    pub terminating: i32,
    pub ready: i32,
    /// Of an indexed Job: as told, and with what has ended since.
    pub told_indexes: Intervals,
    pub succeeded_indexes: Intervals,
    /// With `backoffLimitPerIndex`.
    pub failed_indexes: Option<Intervals>,
    /// Failed pods that keep their finalizer until a pod that replaces them carries on their count.
    pub awaiting_replacement: Vec<(i32, &'a Pod)>,
    /// Why the Job is to end.
    pub finished: Option<JobCondition>,
    pub status: JobStatus,
    /// The last plan failed: nothing is made or removed this time.
    pub has_failed: bool,
    pub now: Timestamp,
}

impl<'a> Sync<'a> {
    pub fn new(job: &'a Job, pods: Vec<&'a Pod>, has_failed: bool, now: Timestamp) -> Self {
        static NONE: std::sync::LazyLock<JobSpec> = std::sync::LazyLock::new(JobSpec::default);
        let spec = job.spec.as_ref().unwrap_or(&NONE);
        let mut status = job.status.clone().unwrap_or_default();
        status.uncounted_terminated_pods.get_or_insert_with(UncountedTerminatedPods::default);
        let active: Vec<&Pod> = pods.iter().copied().filter(|pod| pods::is_active(pod)).collect();
        let mut sync = Self {
            job,
            spec,
            succeeded: 0,
            failed: 0,
            terminating: pods.iter().filter(|pod| pods::is_terminating(pod)).count() as i32,
            ready: active.iter().filter(|pod| pods::is_ready(pod)).count() as i32,
            pods,
            active,
            told_indexes: Intervals::default(),
            succeeded_indexes: Intervals::default(),
            failed_indexes: None,
            awaiting_replacement: Vec::new(),
            finished: None,
            status,
            has_failed,
            now,
        };
        sync.count();
        sync
    }

    pub fn is_indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    pub fn is_suspended(&self) -> bool {
        self.spec.suspend.unwrap_or(false)
    }

    pub fn completions(&self) -> i32 {
        self.spec.completions.unwrap_or(1)
    }

    pub fn backoff_limit(&self) -> i32 {
        self.spec.backoff_limit.unwrap_or(BACKOFF_LIMIT)
    }

    /// `podReplacementPolicy: Failed`: a pod that terminates is not failed yet, nor replaced.
    pub fn waits_for_termination(&self) -> bool {
        self.spec.pod_replacement_policy.as_deref() == Some("Failed")
    }

    /// A deleted pod may never get to the phase Failed; unless asked to wait, it counts as failed.
    pub fn is_failed(&self, pod: &Pod) -> bool {
        let phase = pods::phase(pod);
        let leaves = pod.metadata.deletion_timestamp.is_some() && phase != "Succeeded";
        phase == "Failed" || leaves && !self.waits_for_termination()
    }

    /// The pod's index, if it is one of this Job's.
    pub fn index(&self, pod: &Pod) -> Option<i32> {
        pod::index(pod).filter(|index| *index < self.completions())
    }

    /// Still to be counted: has the finalizer and, in an indexed Job, an index.
    pub fn is_countable(&self, pod: &Pod) -> bool {
        pod::is_tracked(pod) && (!self.is_indexed() || self.index(pod).is_some())
    }

    fn count(&mut self) {
        let uncounted = self.status.uncounted_terminated_pods.clone().unwrap_or_default();
        let (succeeded, failed) = (uncounted.succeeded.unwrap_or_default(), uncounted.failed.unwrap_or_default());
        let is_new =
            |pod: &&&Pod, known: &[String]| self.is_countable(pod) && !known.iter().any(|u| u == Typed::uid(**pod));
        let new_succeeded = self.pods.iter().filter(|pod| is_new(pod, &succeeded) && pods::phase(pod) == "Succeeded");
        let new_succeeded = new_succeeded.count() as i32;
        let new_failed = self.pods.iter().filter(|pod| is_new(pod, &failed) && self.is_failed(pod));
        let new_failed = new_failed.filter(|pod| track::counts_as_failed(self.spec, pod)).count() as i32;
        self.succeeded = self.status.succeeded.unwrap_or(0) + new_succeeded + succeeded.len() as i32;
        self.failed = self.status.failed.unwrap_or(0) + new_failed + failed.len() as i32;
    }

    /// Adds to `plan` all that is to be done.
    pub fn run(mut self, mut plan: Plan) -> Plan {
        if self.status.start_time.is_none() && !self.is_suspended() {
            self.status.start_time = Some(seconds(self.now));
        }
        finish::evaluate(&mut self, &mut plan);
        let mut active = self.active.len() as i32;
        if self.finished.is_some() {
            active = self.stop(&mut plan);
        } else {
            let manages = self.job.metadata.deletion_timestamp.is_none() && !self.has_failed;
            if manages {
                active += manage::manage(&mut self, &mut plan);
            }
            if self.is_complete(active) {
                let text = "Reached expected number of succeeded pods";
                self.finished = Some(finish::condition("SuccessCriteriaMet", "CompletionsReached", text, self.now));
            } else if manages {
                finish::suspend_or_resume(&mut self, &mut plan);
            }
        }
        self.status.active = nonzero(active);
        self.status.ready = Some(self.ready);
        self.status.terminating = Some(self.terminating);
        track::track(self, plan)
    }

    /// Nothing of a Job that ends goes on. Returns how many pods stay active.
    fn stop(&mut self, plan: &mut Plan) -> i32 {
        if self.has_failed {
            return self.active.len() as i32;
        }
        let deletes: Vec<Write> = self.active.iter().map(|pod| delete(self.job, pod)).collect();
        self.terminating += deletes.len() as i32;
        self.ready = 0;
        if !deletes.is_empty() {
            plan.steps.push(Step::Together(deletes));
        }
        0
    }

    fn is_complete(&self, active: i32) -> bool {
        let enough = match self.spec.completions {
            // Any success is enough; what still runs is waited for.
            None => self.succeeded > 0,
            Some(wanted) => self.succeeded >= wanted,
        };
        enough && active == 0
    }
}

pub fn delete(job: &Job, pod: &Pod) -> Write {
    Write::delete(pod).done(Note::normal(job, "SuccessfulDelete", "Deleted pod: {name}")).failed(Note::warning(
        job,
        "FailedDelete",
        "Error deleting: {error}",
    ))
}
