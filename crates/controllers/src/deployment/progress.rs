//! The status: counts, and the conditions Available, Progressing and ReplicaFailure.

use jiff::{SignedDuration, Timestamp};
use orlop_api::typed::k8s_openapi::api::apps::v1::{
    DeploymentCondition, DeploymentStatus, ReplicaSetCondition, ReplicaSetStatus,
};
use orlop_client::engine::{Failure, Plan};

use super::revision::REVISION;
use super::rollout::{Rollout, Set};
use crate::common::seconds;

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";

impl Rollout<'_> {
    pub fn status_seen(&self) -> DeploymentStatus {
        self.seen.status.clone().unwrap_or_default()
    }

    /// Seconds without progress that count as a failure.
    fn deadline(&self) -> Option<SignedDuration> {
        let seconds = self.seen.spec.progress_deadline_seconds.filter(|n| *n != i32::MAX)?;
        Some(SignedDuration::from_secs(seconds.into()))
    }

    /// Pausing and resuming are told, and restart the deadline.
    pub fn note_pause(&mut self) {
        if self.deadline().is_none() {
            return;
        }
        let paused = self.seen.spec.paused == Some(true);
        let reason = condition(&self.status, PROGRESSING).and_then(|c| c.reason.as_deref());
        if reason == Some(TIMED_OUT) || paused == (reason == Some(PAUSED)) {
            return;
        }
        let (reason, text) =
            if paused { (PAUSED, "Deployment is paused") } else { ("DeploymentResumed", "Deployment is resumed") };
        set_condition(&mut self.status, make(PROGRESSING, "Unknown", reason, text.to_owned(), self.now));
    }

    /// The new set has just been made.
    pub fn note_new_set(&mut self, at: usize, revision: i64) {
        self.annotations.insert(REVISION.to_owned(), revision.to_string());
        if self.deadline().is_some() {
            let text = format!("Created new replica set {:?}", self.sets[at].name());
            set_condition(&mut self.status, make(PROGRESSING, "True", "NewReplicaSetCreated", text, self.now));
        }
    }

    /// The new set was there already, but nobody watched its progress.
    pub fn note_found_set(&mut self, at: usize) {
        if self.deadline().is_some() && condition(&self.status, PROGRESSING).is_none() {
            let text = format!("Found new replica set {:?}", self.sets[at].name());
            set_condition(&mut self.status, make(PROGRESSING, "True", "FoundNewReplicaSet", text, self.now));
        }
    }

    /// The new set could not be made.
    pub fn report_failure(mut self, failure: &Failure) -> Plan {
        let mut status = self.status_seen();
        if self.deadline().is_some() {
            let text = format!("Failed to create new replica set {:?}: {}", failure.name, failure.message);
            set_condition(&mut status, make(PROGRESSING, "False", "ReplicaSetCreateError", text, self.now));
        }
        self.plan = Plan::none();
        self.finish(status)
    }

    /// Ends a decision that rolled nothing out: counts and availability.
    pub fn finish_counting(self) -> Plan {
        let status = self.counted();
        self.finish(status)
    }

    /// Ends a decision that may have rolled out: judges progress too.
    pub fn finish_progressing(mut self) -> Plan {
        let mut status = self.counted();
        self.judge_progress(&mut status);
        match self.replica_failure() {
            Some(failure) => set_condition(&mut status, failure),
            None => remove_condition(&mut status, REPLICA_FAILURE),
        }
        if let Some(at) = self.deadline_at(&status) {
            self.plan.wake_by(at);
        }
        self.finish(status)
    }

    fn counted(&self) -> DeploymentStatus {
        let of = |set: &Set| set.seen.status.clone().unwrap_or_default();
        let sum = |count: fn(&ReplicaSetStatus) -> i32| self.sets.iter().map(|set| count(&of(set))).sum::<i32>();
        let available = sum(|s| s.available_replicas.unwrap_or(0));
        let mut status = DeploymentStatus {
            observed_generation: self.seen.metadata.generation,
            replicas: Some(sum(|s| s.replicas)),
            updated_replicas: Some(self.new.map_or(0, |at| of(&self.sets[at]).replicas)),
            ready_replicas: Some(sum(|s| s.ready_replicas.unwrap_or(0))),
            available_replicas: Some(available),
            unavailable_replicas: Some((self.total_replicas() - available).max(0)),
            terminating_replicas: self.terminating(),
            collision_count: self.status.collision_count,
            conditions: self.status.conditions.clone(),
        };
        let enough = available >= self.replicas() - self.max_unavailable();
        let (value, reason, text) = if enough {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        set_condition(&mut status, make(AVAILABLE, value, reason, text.to_owned(), self.now));
        status
    }

    /// `None` as long as some set has been counted but its terminating pods have not.
    fn terminating(&self) -> Option<i32> {
        self.sets.iter().try_fold(0, |sum, set| {
            let status = set.seen.status.clone().unwrap_or_default();
            match status.terminating_replicas {
                Some(count) => Some(sum + count),
                None if status.observed_generation.unwrap_or(0) == 0 => Some(sum),
                None => None,
            }
        })
    }

    fn judge_progress(&self, status: &mut DeploymentStatus) {
        if self.deadline().is_none() {
            remove_condition(status, PROGRESSING);
            return;
        }
        let current = condition(&self.status, PROGRESSING).cloned();
        let done_before = status.replicas == status.updated_replicas
            && current.as_ref().is_some_and(|c| c.reason.as_deref() == Some(NEW_SET_AVAILABLE));
        if done_before {
            return;
        }
        let what = match self.new {
            Some(at) => format!("ReplicaSet {:?}", self.sets[at].name()),
            None => format!("Deployment {:?}", self.seen.metadata.name.as_deref().unwrap_or_default()),
        };
        if self.is_complete(status) {
            let text = format!("{what} has successfully progressed.");
            set_condition(status, make(PROGRESSING, "True", NEW_SET_AVAILABLE, text, self.now));
        } else if self.progressed(status) {
            let text = format!("{what} is progressing.");
            let mut news = make(PROGRESSING, "True", "ReplicaSetUpdated", text, self.now);
            // Even with an unchanged reason the time of the last progress is told.
            if let Some(current) = current {
                if current.status.as_deref() == Some("True") {
                    news.last_transition_time = current.last_transition_time;
                }
                remove_condition(status, PROGRESSING);
            }
            set_condition(status, news);
        } else if self.timed_out(status) {
            let text = format!("{what} has timed out progressing.");
            set_condition(status, make(PROGRESSING, "False", TIMED_OUT, text, self.now));
        }
    }

    /// All wanted pods are of the new set and available, and no others are left.
    pub fn is_complete(&self, status: &DeploymentStatus) -> bool {
        let wanted = self.replicas();
        status.updated_replicas.unwrap_or(0) == wanted
            && status.replicas.unwrap_or(0) == wanted
            && status.available_replicas.unwrap_or(0) == wanted
            && status.observed_generation >= self.seen.metadata.generation
    }

    fn progressed(&self, new: &DeploymentStatus) -> bool {
        let old = self.status_seen();
        let count = |n: Option<i32>| n.unwrap_or(0);
        let old_pods = |s: &DeploymentStatus| count(s.replicas) - count(s.updated_replicas);
        count(new.updated_replicas) > count(old.updated_replicas)
            || old_pods(new) < old_pods(&old)
            || count(new.ready_replicas) > count(old.ready_replicas)
            || count(new.available_replicas) > count(old.available_replicas)
    }

    fn timed_out(&self, status: &DeploymentStatus) -> bool {
        let Some(progressing) = condition(status, PROGRESSING) else { return false };
        match progressing.reason.as_deref() {
            // A rollout that ended says nothing about the next one.
            Some(NEW_SET_AVAILABLE) => false,
            Some(TIMED_OUT) => true,
            _ => self.expiry(progressing).is_some_and(|at| at < self.now),
        }
    }

    fn expiry(&self, progressing: &DeploymentCondition) -> Option<Timestamp> {
        progressing.last_update_time.as_ref()?.0.checked_add(self.deadline()?).ok()
    }

    /// When to judge again if nothing happens: a second after the deadline, so that it has passed.
    fn deadline_at(&self, status: &DeploymentStatus) -> Option<Timestamp> {
        let progressing = condition(status, PROGRESSING)?;
        let settled = matches!(progressing.reason.as_deref(), Some(TIMED_OUT | NEW_SET_AVAILABLE));
        if settled || self.is_complete(status) {
            return None;
        }
        self.expiry(progressing)?.checked_add(SignedDuration::from_secs(1)).ok()
    }

    /// The failure of the new set, else of any.
    fn replica_failure(&self) -> Option<DeploymentCondition> {
        let failure = |set: &Set| -> Option<ReplicaSetCondition> {
            let conditions = set.seen.status.as_ref()?.conditions.as_ref()?;
            conditions.iter().find(|c| c.type_.as_deref() == Some(REPLICA_FAILURE)).cloned()
        };
        let of_new = self.new.and_then(|at| failure(&self.sets[at]));
        let found = of_new.or_else(|| self.sets.iter().find_map(failure))?;
        Some(DeploymentCondition {
            type_: found.type_,
            status: found.status,
            reason: found.reason,
            message: found.message,
            last_update_time: found.last_transition_time.clone(),
            last_transition_time: found.last_transition_time,
        })
    }
}

fn condition<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|c| c.type_.as_deref() == Some(kind))
}

fn make(kind: &str, value: &str, reason: &str, message: String, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: Some(kind.to_owned()),
        status: Some(value.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(seconds(now)),
        last_transition_time: Some(seconds(now)),
    }
}

/// Adds or replaces; the same status and reason change nothing, the same status keeps its time.
fn set_condition(status: &mut DeploymentStatus, mut news: DeploymentCondition) {
    let kind = news.type_.clone().unwrap_or_default();
    if let Some(known) = condition(status, &kind).filter(|known| known.status == news.status) {
        if known.reason == news.reason {
            return;
        }
        news.last_transition_time.clone_from(&known.last_transition_time);
    }
    remove_condition(status, &kind);
    status.conditions.get_or_insert_default().push(news);
}

fn remove_condition(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|c| c.type_.as_deref() != Some(kind));
    }
}
