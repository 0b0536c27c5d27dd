//! Beginning what a plan decided.

use std::sync::Arc;

use orlop_base::clock;
use orlop_client::events::EventType;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::done::Done;
use crate::names;
use crate::pod::backoff::CRASH_LOOP;
use crate::pod::ops::start::{Start, StartError};
use crate::pod::ops::{self, kill, prepare, release, resize, sandbox};
use crate::pod::plan::{Action, Kill, Lane, Stage, StartFailure, backoff_key};
use crate::pod::spec::image;
use crate::volumes::{self, Setup};

impl Worker {
    pub(super) fn carry_out(&mut self, action: Action, now: i64) {
        match action {
            Action::Prepare => self.prepare(now),
            Action::Sandbox { attempt, replaces } => self.sandbox(attempt, replaces),
            Action::Start { name, crashed_nanos, .. } => self.start(name, crashed_nanos, now),
            Action::BackOff { name, message, until_nanos } => self.back_off(name, message, until_nanos),
            Action::Kill(kill) => self.kill(kill),
            Action::StopPod { grace_seconds } => self.stop(grace_seconds),
            Action::Remove { id } => self.remove(id),
            Action::Resize { ids } => self.resize(ids),
            Action::Release => self.release(),
            Action::Purge => self.purge(),
        }
    }

    fn begin(&mut self, operation: impl Future<Output = Done> + Send + 'static) {
        self.operations.push(Box::pin(operation));
    }

    fn enter_lane(&mut self, lane: Lane) -> CancellationToken {
        self.changed_in_lane = false;
        self.busy.lane = Some(lane);
        self.ending.clone()
    }

    fn prepare(&mut self, now: i64) {
        let cancelled = self.enter_lane(Lane::Prepare);
        let (context, pod) = (self.context.clone(), self.pod.clone());
        self.begin(async move { Done::Prepared(prepare::run(&context, &pod, now, &cancelled).await) });
    }

    fn sandbox(&mut self, attempt: u32, replaces: bool) {
        if replaces {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.context.pod_event(&self.pod, EventType::Normal, "SandboxChanged", message);
        }
        let cancelled = self.enter_lane(Lane::Sandbox);
        let (context, pod) = (self.context.clone(), self.pod.clone());
        self.begin(async move { Done::Sandbox(sandbox::run(&context, &pod, attempt, &cancelled).await) });
    }

    fn start(&mut self, name: String, crashed_nanos: Option<i64>, now: i64) {
        let Some((_, container)) = self.pod.container(&name) else { return };
        let container = container.clone();
        if let Some(crashed) = crashed_nanos {
            let key = backoff_key(&name, image(&container));
            let policy = crate::pod::backoff::BackoffPolicy {
                max_nanos: self.context.config.max_crash_backoff_seconds.saturating_mul(1_000_000_000),
                ..CRASH_LOOP
            };
            self.memory.backoff.next(&key, crashed, now, policy);
        }
        let cancelled = self.enter_lane(Lane::Start(name.clone()));
        let (context, pod, volumes) = (self.context.clone(), self.pod.clone(), self.volumes.clone());
        self.begin(async move {
            let start = Start {
                context: &context,
                pod: &pod,
                container: &container,
                volumes: &volumes,
                cancelled: &cancelled,
                now,
            };
            let result: Result<(), StartError> = start.run().await;
            Done::Started { name, result }
        });
    }

    fn back_off(&mut self, name: String, message: String, until_nanos: i64) {
        let text = format!("Back-off restarting failed container {name} in pod {}", self.pod.described());
        self.context.container_event(&self.pod, &name, EventType::Warning, "BackOff", text);
        let failure = StartFailure { reason: "CrashLoopBackOff".to_owned(), message, retry_nanos: until_nanos };
        self.memory.failures.insert(name, failure);
        self.handle.wake();
    }

    fn kill(&mut self, kill: Kill) {
        self.busy.kills.insert(kill.id.clone());
        let (context, pod) = (self.context.clone(), self.pod.clone());
        self.begin(async move {
            let Kill { id, message, reason, restart, .. } = kill;
            let kill = kill::KillContainer { context: &context, pod: &pod, id: &id, message: &message, reason };
            let error = kill.run(None, None).await;
            Done::Killed { id, restart, error: error.map(|e| e.to_string()) }
        });
    }

    fn stop(&mut self, grace_seconds: i64) {
        self.busy.stop = Some(grace_seconds);
        let (context, pod) = (self.context.clone(), self.pod.clone());
        self.begin(async move {
            Done::Stopped { grace_seconds, result: kill::stop_pod(&context, &pod, grace_seconds).await }
        });
    }

    fn remove(&mut self, id: String) {
        self.busy.removals.insert(id.clone());
        let context = self.context.clone();
        self.begin(async move {
            let result = release::remove_container(&context, &id).await;
            Done::Removed { id, result }
        });
    }

    fn resize(&mut self, ids: Vec<String>) {
        self.busy.resize = true;
        let (context, pod) = (self.context.clone(), self.pod.clone());
        self.begin(async move { Done::Resized(resize::run(&context, &pod, &ids).await) });
    }

    fn release(&mut self) {
        self.busy.release = true;
        let (context, pod) = (self.context.clone(), self.pod.clone());
        self.begin(async move { Done::Released(release::release(&context, &pod).await) });
    }

    fn purge(&mut self) {
        self.busy.purge = true;
        let (context, pod) = (self.context.clone(), self.pod.clone());
        self.begin(async move {
            let logs = names::pod_log_dir(&context.config.dirs.pod_logs, &pod);
            Done::Purged(release::purge(&context, pod.uid(), Some(&logs)).await)
        });
    }

    /// Brings volumes' contents up to date: an object changed, a token is due.
    pub(super) fn refresh_content(&mut self, now: i64) {
        let due = self.stale_content || self.refresh_nanos.is_some_and(|due| due <= now);
        let ready = self.stage == Stage::Active && self.memory.prepared && self.busy.lane != Some(Lane::Prepare);
        if !due || !ready || self.refreshing {
            return;
        }
        self.refreshing = true;
        self.stale_content = false;
        self.refresh_nanos = None;
        let (context, pod, cancelled) = (self.context.clone(), self.pod.clone(), self.ending.clone());
        self.begin(async move {
            let setup = Setup { context: &context, pod: &pod, now: clock::unix_nanos(), cancelled: &cancelled };
            let prepared = volumes::prepare(&setup).await;
            Done::Refreshed(prepared.map_err(|error| ops::SetupError::new("FailedMount", error.to_string())))
        });
    }

    pub(super) fn as_pod(&self) -> Arc<crate::pod::spec::NodePod> {
        self.pod.clone()
    }
}
