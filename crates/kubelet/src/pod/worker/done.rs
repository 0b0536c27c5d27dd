//! Remembering how operations went.

use orlop_base::clock;
use orlop_client::events::EventType;

use super::Worker;
use crate::corev1::Pod;
use crate::pod::ops::SetupError;
use crate::pod::ops::resize::Resized;
use crate::pod::ops::start::{CONFIG_ERROR, StartError};
use crate::pod::plan::StartFailure;
use crate::volumes::Prepared;

/// The end of one operation.
pub enum Done {
    Prepared(Result<Prepared, SetupError>),
    Refreshed(Result<Prepared, SetupError>),
    Sandbox(Result<(), SetupError>),
    Started { name: String, result: Result<(), StartError> },
    Killed { id: String, restart: bool, error: Option<String> },
    Stopped { grace_seconds: i64, result: Result<(), String> },
    Removed { id: String, result: Result<(), String> },
    Resized(Resized),
    Released(Result<(), String>),
    Purged(Result<(), String>),
    Told(Result<Box<Pod>, orlop_client::Error>),
    Deleted(Result<(), orlop_client::Error>),
}

const SECOND: i64 = 1_000_000_000;
/// Between tries of a step that failed: upstream's volume operations begin with half a second and
/// double; here a change of what was missing ends the wait.
const FIRST_RETRY_NANOS: i64 = SECOND / 2;
const MAX_RETRY_NANOS: i64 = 122 * SECOND;

impl Worker {
    pub(super) fn finish(&mut self, done: Done) {
        match done {
            Done::Prepared(result) => self.prepared(result),
            Done::Refreshed(result) => self.refreshed(result),
            Done::Sandbox(result) => self.sandbox_made(result),
            Done::Started { name, result } => self.started(name, result),
            Done::Killed { id, restart, error } => self.killed(id, restart, error),
            Done::Stopped { grace_seconds, result } => self.stopped(grace_seconds, result),
            Done::Removed { id, result } => {
                self.busy.removals.remove(&id);
                self.note_failure(result.err(), "removing a container");
            }
            Done::Resized(resized) => self.resized(resized),
            Done::Released(result) => {
                self.busy.release = false;
                self.memory.released = result.is_ok();
                self.note_failure(result.err(), "releasing a pod's resources");
            }
            Done::Purged(result) => {
                self.busy.purge = false;
                self.memory.purged = result.is_ok();
                self.note_failure(result.err(), "removing what is left of a pod");
            }
            Done::Told(result) => self.told(result),
            Done::Deleted(result) => self.deleted(result),
        }
    }

    fn prepared(&mut self, result: Result<Prepared, SetupError>) {
        self.busy.lane = None;
        match result {
            Ok(prepared) => {
                self.memory.prepared = true;
                self.volumes = prepared.volumes;
                self.refresh_nanos = prepared.refresh_nanos;
                self.worked();
            }
            // A pod that is going has no use for volumes: their lack is no failure.
            Err(_) if self.ending.is_cancelled() => {}
            Err(error) => self.failed(&error),
        }
    }

    fn refreshed(&mut self, result: Result<Prepared, SetupError>) {
        self.refreshing = false;
        match result {
            Ok(prepared) => {
                self.volumes = prepared.volumes;
                self.refresh_nanos = prepared.refresh_nanos;
            }
            Err(_) if self.ending.is_cancelled() => {}
            Err(error) => {
                // What was there before stays; looked at again soon.
                error.record(&self.context, &self.pod);
                self.refresh_nanos = Some(clock::unix_nanos() + 60 * SECOND);
            }
        }
    }

    fn sandbox_made(&mut self, result: Result<(), SetupError>) {
        self.busy.lane = None;
        match result {
            Ok(()) => self.worked(),
            // A pod that is going has no use for a sandbox: its lack is no failure.
            Err(_) if self.ending.is_cancelled() => {}
            Err(error) => self.failed(&error),
        }
    }

    fn started(&mut self, name: String, result: Result<(), StartError>) {
        self.busy.lane = None;
        match result {
            Ok(()) => {
                self.memory.failures.remove(&name);
            }
            Err(error) if error.reason.is_empty() => {}
            Err(StartError { reason, message, retry_nanos }) => {
                let at_once = self.changed_in_lane && reason == CONFIG_ERROR;
                let retry_nanos = if at_once { 0 } else { retry_nanos };
                let failure = StartFailure { reason: reason.to_owned(), message, retry_nanos };
                self.memory.failures.insert(name, failure);
            }
        }
    }

    fn killed(&mut self, id: String, restart: bool, error: Option<String>) {
        self.busy.kills.remove(&id);
        if let Some(error) = error {
            self.note_failure(Some(error), "killing a container");
        } else if restart {
            self.memory.killed.insert(id);
        }
    }

    fn stopped(&mut self, grace_seconds: i64, result: Result<(), String>) {
        // A shorter stop that began later has the last word.
        if self.busy.stop == Some(grace_seconds) {
            self.busy.stop = None;
        }
        if let Err(error) = result {
            let text = format!("error killing pod: {error}");
            self.context.pod_event(&self.pod, EventType::Warning, "FailedKillPod", text);
            self.wait_before_retry();
        }
    }

    /// Nothing to wait for: the last step worked, or what comes now is another matter.
    pub(super) fn worked(&mut self) {
        self.memory.setup_retry_nanos = 0;
        self.memory.setup_failures = 0;
    }

    fn failed(&mut self, error: &SetupError) {
        error.record(&self.context, &self.pod);
        if !self.changed_in_lane {
            self.wait_before_retry();
        }
    }

    fn note_failure(&mut self, error: Option<String>, doing: &str) {
        match error {
            None => self.worked(),
            Some(error) => {
                tracing::warn!(pod = self.pod.described(), error, "{doing}");
                self.wait_before_retry();
            }
        }
    }

    fn wait_before_retry(&mut self) {
        let doubled = FIRST_RETRY_NANOS.saturating_mul(1 << self.memory.setup_failures.min(16));
        self.memory.setup_failures += 1;
        self.memory.setup_retry_nanos = clock::unix_nanos() + doubled.min(MAX_RETRY_NANOS);
    }
}
