//! The loop of one pod: look, decide, begin what was decided, tell, sleep until something happens.
//!
//! Everything between two awaits is synchronous and works on one view of the world; operations run
//! as futures of this very task, and only their results change what is remembered.

mod carry;
mod done;
mod lifecycle;
mod probing;
mod resizing;
mod telling;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use orlop_base::clock;
use tokio_util::sync::CancellationToken;

use crate::container::mounts::Volumes;
use crate::context::Context;
use crate::corev1::{Pod, PodStatus};
use crate::pod::kill::pod_grace_seconds;
use crate::pod::plan::{Busy, Memory, PlanInput, Stage, plan};
use crate::pod::spec::NodePod;
use crate::pod::view::PodView;
use crate::pods::{PodHandle, Wish};
use crate::probes::ProbeResults;
use crate::status::StatusInput;
use done::Done;
use probing::Probers;
use telling::Telling;

pub struct Worker {
    context: Arc<Context>,
    handle: Arc<PodHandle>,
    wish: Wish,
    /// The pod as granted: what all decisions are about.
    pod: Arc<NodePod>,
    view: Arc<PodView>,
    stage: Stage,
    memory: Memory,
    busy: Busy,
    /// Tells operations to stop at the next safe point: the pod is to end.
    ending: CancellationToken,
    volumes: Volumes,
    /// When volumes' contents are due.
    refresh_nanos: Option<i64>,
    refreshing: bool,
    stale_content: bool,
    /// Content changed while the lane's operation was at work: it may have missed that.
    changed_in_lane: bool,
    previous: PodStatus,
    telling: Telling,
    probes: Arc<Mutex<ProbeResults>>,
    probers: Probers,
    operations: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl Worker {
    pub fn new(context: Arc<Context>, handle: Arc<PodHandle>) -> Self {
        let wish = handle.wish();
        let pod = wish.pod.clone();
        let probes = Arc::new(Mutex::new(ProbeResults::default()));
        let (memory, stage) = lifecycle::first(&context, &wish);
        Self {
            view: context.observed.view(pod.uid()),
            previous: pod.api_status().clone(),
            telling: Telling::new(pod.object.clone()),
            probers: Probers::new(context.clone(), handle.clone(), probes.clone()),
            ending: CancellationToken::new(),
            volumes: Volumes::new(),
            refresh_nanos: None,
            refreshing: false,
            stale_content: false,
            changed_in_lane: false,
            busy: Busy::default(),
            operations: FuturesUnordered::new(),
            context,
            handle,
            wish,
            pod,
            stage,
            memory,
            probes,
        }
    }

    /// Runs until the pod is gone from its source and from this node, or `shutdown`; what runs then
    /// runs on.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let wake_nanos = self.step(clock::unix_nanos());
            if self.is_over() {
                break;
            }
            let wake = until(wake_nanos);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(done) = self.operations.next(), if !self.operations.is_empty() => self.finish(done),
                () = self.handle.woken() => {}
                () = wake => {}
            }
        }
        self.context.pods.remove(self.pod.uid());
    }

    /// One look at the world; returns when to look again if nothing happens.
    fn step(&mut self, now: i64) -> Option<i64> {
        self.look(now);
        self.advance(now);
        self.tell(now);
        self.probe();
        let plan = {
            let probes = self.probes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            plan(&PlanInput {
                pod: &self.pod,
                view: &self.view,
                stage: &self.stage,
                memory: &self.memory,
                probes: &probes,
                busy: &self.busy,
                grace_seconds: self.grace_seconds(),
                forget: self.wish.gone || self.pod.is_deleted(),
                now,
            })
        };
        let mut wake = plan.wake_nanos;
        for action in plan.actions {
            self.carry_out(action, now);
        }
        self.refresh_content(now);
        // What is due now has been seen to above, or waits for something else than time.
        let dues = [self.refresh_nanos, self.deadline_nanos(), self.telling.retry_nanos()];
        for due in dues.into_iter().flatten().filter(|due| *due > now) {
            wake = Some(wake.map_or(due, |wake| wake.min(due)));
        }
        wake
    }

    /// Takes in what is wanted and what is.
    fn look(&mut self, now: i64) {
        let wish = self.handle.wish();
        if !Arc::ptr_eq(&wish.pod, &self.wish.pod) {
            self.telling.learn(&wish.pod.object);
            self.stale_content |= shows_other(&wish.pod.object, &self.wish.pod.object);
            self.wish = wish;
            self.decide_resize(now);
        } else {
            self.wish = wish;
        }
        self.view = self.context.observed.view(self.pod.uid());
        if self.handle.take_content_changed() {
            self.content_changed();
        }
        let view = &self.view;
        self.memory.killed.retain(|id| view.by_id(id).is_some());
        self.memory.resize.in_effect.retain(|id, _| view.by_id(id).is_some());
    }

    /// Objects that volumes and variables come from have changed: what failed for want of them may
    /// work now.
    fn content_changed(&mut self) {
        self.stale_content = true;
        self.changed_in_lane = true;
        self.memory.setup_retry_nanos = 0;
        for failure in self.memory.failures.values_mut() {
            if failure.reason == crate::pod::ops::start::CONFIG_ERROR {
                failure.retry_nanos = 0;
            }
        }
    }

    fn grace_seconds(&self) -> i64 {
        self.wish.grace_seconds.unwrap_or_else(|| pod_grace_seconds(&self.pod))
    }

    fn status_input<'a>(&'a self, probes: &'a ProbeResults, now: i64) -> StatusInput<'a> {
        StatusInput {
            pod: &self.pod,
            view: &self.view,
            memory: &self.memory,
            probes,
            stage: &self.stage,
            previous: &self.previous,
            verdict: self.wish.verdict.as_ref(),
            host_ips: &self.context.config.node_ips,
            agent_started_nanos: self.context.started_nanos,
            now: jiff::Timestamp::from_nanosecond(i128::from(now)).unwrap_or(jiff::Timestamp::UNIX_EPOCH),
        }
    }

    fn is_over(&self) -> bool {
        self.wish.gone && self.stage == Stage::Finished && self.memory.purged && self.operations.is_empty()
    }
}

/// Do the two differ in what the downward API shows?
fn shows_other(new: &Pod, old: &Pod) -> bool {
    let shown = |pod: &Pod| (pod.metadata.labels.clone(), pod.metadata.annotations.clone(), pod.metadata.generation);
    shown(new) != shown(old)
}

/// Sleeps until a wall-clock time; forever without one.
async fn until(nanos: Option<i64>) {
    match nanos {
        None => std::future::pending().await,
        Some(nanos) => {
            let left = nanos.saturating_sub(clock::unix_nanos()).max(0).unsigned_abs();
            tokio::time::sleep(Duration::from_nanos(left)).await;
        }
    }
}
