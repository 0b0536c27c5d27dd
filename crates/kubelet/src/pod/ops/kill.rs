//! Stopping containers: preStop hook, order of termination, stop signal, SIGKILL.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use orlop_client::events::EventType;
use orlop_runtime::RuntimeError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::context::Context;
use crate::pod::hooks;
use crate::pod::kill::{KillReason, MIN_GRACE_SECONDS, container_grace_seconds, stops_after};
use crate::pod::spec::NodePod;

pub struct KillContainer<'a> {
    pub context: &'a Context,
    pub pod: &'a NodePod,
    pub id: &'a str,
    /// Of the event; empty: `Stopping container x`.
    pub message: &'a str,
    pub reason: KillReason,
}

/// Which containers of a pod have stopped, for those that wait for them.
type Stopped = watch::Sender<BTreeSet<String>>;

impl KillContainer<'_> {
    /// Returns when the container has exited. `grace_seconds` overrides what the pod says.
    pub async fn run(&self, grace_seconds: Option<i64>, order: Option<&Stopped>) -> Option<RuntimeError> {
        let view = self.context.observed.view(self.pod.uid());
        let name = view.by_id(self.id).map(|i| i.name().to_owned()).unwrap_or_default();
        let text = if self.message.is_empty() { format!("Stopping container {name}") } else { self.message.to_owned() };
        self.context.container_event(self.pod, &name, EventType::Normal, "Killing", text);
        let grace = grace_seconds.unwrap_or_else(|| container_grace_seconds(self.pod, &name, self.reason));
        let began = Instant::now();
        let left = |grace: i64| grace - i64::try_from(began.elapsed().as_secs()).unwrap_or(i64::MAX);
        if grace > 0 {
            self.pre_stop(&name, grace).await;
        }
        if let Some(stopped) = order.filter(|_| left(grace) > 0) {
            self.wait_for_turn(&name, left(grace), stopped).await;
        }
        let result = self.context.runtime.stop_container(self.id, left(grace).max(MIN_GRACE_SECONDS)).await;
        self.context.observed.read_container(self.id).await;
        if let Some(stopped) = order {
            stopped.send_modify(|names| {
                names.insert(name);
            });
        }
        result.err().filter(|error| !matches!(error, RuntimeError::NotFound(_)))
    }

    async fn pre_stop(&self, name: &str, grace: i64) {
        let Some((_, container)) = self.pod.container(name) else { return };
        let Some(hook) = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref()) else { return };
        let limit = Duration::from_secs(grace.unsigned_abs());
        let hook = hooks::run(self.context, self.pod, container, self.id, hook);
        if let Ok(Err(error)) = tokio::time::timeout(limit, hook).await {
            tracing::debug!(pod = self.pod.described(), container = name, error, "preStop hook failed");
            self.context.container_event(self.pod, name, EventType::Warning, "FailedPreStopHook", "PreStopHook failed");
        }
    }

    async fn wait_for_turn(&self, name: &str, grace: i64, stopped: &Stopped) {
        let view = self.context.observed.view(self.pod.uid());
        let running: BTreeSet<&str> = view.running().map(crate::pod::view::Instance::name).collect();
        let mut before = stops_after(self.pod, name);
        before.retain(|other| running.contains(other.as_str()));
        let mut receiver = stopped.subscribe();
        let turn = receiver.wait_for(|stopped| before.iter().all(|other| stopped.contains(other)));
        // Past its grace period a container stops out of turn.
        let _ = tokio::time::timeout(Duration::from_secs(grace.unsigned_abs()), turn).await;
    }
}

/// Stops every container, sidecars last, then the sandboxes with their network.
pub async fn stop_pod(context: &Context, pod: &NodePod, grace_seconds: i64) -> Result<(), String> {
    let view = context.observed.view(pod.uid());
    let order = Stopped::new(BTreeSet::new());
    let kills = view.running().map(|instance| async {
        let reason = KillReason::Unknown;
        let kill = KillContainer { context, pod, id: instance.id(), message: "", reason };
        kill.run(Some(grace_seconds), Some(&order)).await
    });
    let mut errors: Vec<String> = join_all(kills).await.into_iter().flatten().map(|e| e.to_string()).collect();
    for sandbox in view.sandboxes.iter().filter(|s| s.ready) {
        if let Err(error) = context.network.detach(&sandbox.id).await {
            errors.push(error.to_string());
        }
        match context.runtime.stop_sandbox(&sandbox.id).await {
            Ok(()) | Err(RuntimeError::NotFound(_)) => context.observed.sandbox_stopped(&sandbox.id).await,
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.join(", ")) }
}
