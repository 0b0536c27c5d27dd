//! Looks whether the node runs short, and ends pods before the kernel ends processes
//! (`pkg/kubelet/eviction/eviction_manager.go`).

use std::sync::Arc;
use std::time::Duration;

use orlop_base::clock;
use orlop_client::events::EventType;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::judge::{LastSeen, judge, reclaims_images};
use super::message::message;
use super::rank::{Candidate, rank};
use super::threshold::{Observation, Observations, Signal, Starved, Threshold};
use super::{Pressure, is_critical, local_storage};
use crate::context::Context;
use crate::images::collector;
use crate::metrics;
use crate::node::gauges::FileSystem;
use crate::pods::PodHandle;
use crate::resources::cgroup::KUBEPODS;
use crate::resources::{Amount, MEMORY};
use crate::status::Verdict;
use crate::usage::{self, Depth};

/// Between two looks (`evictionMonitoringPeriod`). Disks and process tables tell nobody that they
/// fill up; memory tells sooner, through its stalls.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Walking volumes may take at most this share of the time.
const WALK_SHARE: u32 = 50;
/// What was evicted gets this long to give back what it holds before the next pod goes.
const CLEANUP_WAIT: Duration = Duration::from_secs(30);
/// What was given back shows in the measurements after this.
const SETTLE: Duration = Duration::from_secs(1);
/// Under pressure nobody is given long to say goodbye.
const GRACE_SECONDS: i64 = 1;

pub struct Manager {
    context: Arc<Context>,
    pressure: Arc<Pressure>,
    thresholds: Vec<Threshold>,
    seen: LastSeen,
    /// Local volumes are not walked again before.
    next_walk: Instant,
}

impl Manager {
    pub fn new(context: Arc<Context>, pressure: Arc<Pressure>) -> Self {
        let parsed = context.config.eviction.hard.iter().filter_map(|(signal, limit)| {
            Threshold::parse(signal, limit).inspect_err(|error| tracing::error!(%error, "ignored")).ok()
        });
        let mut thresholds: Vec<Threshold> = parsed.collect();
        let allocatable = thresholds.iter().find_map(Threshold::of_allocatable);
        thresholds.extend(allocatable);
        Self { context, pressure, thresholds, seen: LastSeen::default(), next_walk: Instant::now() }
    }

    pub async fn run(mut self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.watch()).await;
    }

    async fn watch(&mut self) {
        let mut stalls = self.context.gauges.memory_stalls();
        loop {
            let evicted = self.look().await;
            if evicted.is_empty() {
                let stall = async {
                    match &mut stalls {
                        Some(stalls) => stalls.next().await,
                        None => std::future::pending().await,
                    }
                };
                let _ = tokio::time::timeout(LOOK_EVERY, stall).await;
                continue;
            }
            let _ = tokio::time::timeout(CLEANUP_WAIT, all_done(&evicted)).await;
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// Returns the pods that were evicted.
    async fn look(&mut self) -> Vec<Arc<PodHandle>> {
        let observed = self.observe().await;
        let hold = self.context.config.eviction.pressure_transition_seconds;
        let judgement = judge(&self.thresholds, &observed, &mut self.seen, clock::unix_nanos(), hold);
        if self.pressure.set(judgement.memory, judgement.disk, judgement.pids) {
            self.context.node_changed.notify_one();
        }
        let evicted = self.enforce_local_storage().await;
        if !evicted.is_empty() {
            return evicted;
        }
        let Some(first) = judgement.met.first() else { return Vec::new() };
        let starved = first.signal.starved();
        let text = format!("Attempting to reclaim {}", starved.name());
        self.context.node_event(EventType::Warning, "EvictionThresholdMet", text);
        if reclaims_images(first.signal) && self.images_suffice().await {
            return Vec::new();
        }
        self.evict_one(first.signal, &judgement.met, &observed).await.into_iter().collect()
    }

    /// Unused images go before pods do.
    async fn images_suffice(&self) -> bool {
        if let Err(error) = collector::remove_all_unused(&self.context).await {
            tracing::warn!(%error, "removing unused images under disk pressure");
        }
        let observed = self.observe().await;
        let met = |t: &Threshold| observed.get(&t.signal).is_some_and(|o| t.is_met(*o));
        !self.thresholds.iter().any(met)
    }

    async fn evict_one(&self, signal: Signal, met: &[Threshold], observed: &Observations) -> Option<Arc<PodHandle>> {
        let starved = signal.starved();
        let depth = if matches!(starved, Starved::Disk | Starved::Inodes) { Depth::Files } else { Depth::Counters };
        let mut candidates: Vec<Candidate> = usage::of_all(&self.context, depth).await;
        rank(starved, &mut candidates);
        candidates.iter().find_map(|(pod, usage)| {
            let handle = self.context.pods.get(pod.uid())?;
            let verdict = Verdict {
                reason: "Evicted".to_owned(),
                message: message(starved, pod, usage, met, observed),
                disruption: Some("TerminationByKubelet".to_owned()),
            };
            self.evict(&handle, verdict, signal.name()).then_some(handle)
        })
    }

    async fn enforce_local_storage(&mut self) -> Vec<Arc<PodHandle>> {
        let began = Instant::now();
        if began < self.next_walk {
            return Vec::new();
        }
        let mut evicted = Vec::new();
        for handle in self.context.pods.all() {
            let pod = handle.pod();
            if handle.is_done() || !local_storage::is_limited(&pod) {
                continue;
            }
            let usage = usage::of_pod(&self.context, &pod, Depth::Files).await;
            let Some(violation) = local_storage::violation(&pod, &usage) else { continue };
            let verdict = Verdict { reason: "Evicted".to_owned(), message: violation.message, disruption: None };
            if self.evict(&handle, verdict, violation.signal) {
                evicted.push(handle);
            }
        }
        self.next_walk = began + began.elapsed() * WALK_SHARE;
        evicted
    }

    fn evict(&self, handle: &Arc<PodHandle>, verdict: Verdict, signal: &str) -> bool {
        let pod = handle.pod();
        if is_critical(&pod) {
            return false;
        }
        tracing::warn!(pod = pod.described(), message = verdict.message, "evicting");
        self.context.pod_event(&pod, EventType::Warning, "Evicted", verdict.message.clone());
        handle.end(verdict, Some(GRACE_SECONDS));
        let label = metrics::Signal { eviction_signal: signal.to_owned() };
        self.context.metrics.evictions.get_or_create(&label).inc();
        true
    }

    async fn observe(&self) -> Observations {
        let context = &self.context;
        let gauges = &context.gauges;
        let mut observed = Observations::new();
        let memory = Observation { capacity: context.machine.memory_bytes, available: gauges.memory_available_bytes() };
        observed.insert(Signal::MemoryAvailable, memory);
        if let Ok(pods) = context.runtime.cgroup_stats(KUBEPODS).await {
            let capacity = Amount::of(Some(&context.pods_limit), MEMORY).value();
            let used = i64::try_from(pods.memory_working_set_bytes).unwrap_or(i64::MAX);
            let available = capacity.saturating_sub(used);
            observed.insert(Signal::AllocatableMemoryAvailable, Observation { capacity, available });
        }
        if let Some(disk) = gauges.file_system(&context.config.dirs.root) {
            // Images and pods share one file system here.
            for signal in [Signal::NodeFsAvailable, Signal::ImageFsAvailable] {
                observed.insert(signal, bytes(disk));
            }
            // Some file systems have no fixed number of inodes.
            if disk.inodes > 0 {
                for signal in [Signal::NodeFsInodesFree, Signal::ImageFsInodesFree] {
                    observed.insert(signal, inodes(disk));
                }
            }
        }
        let max = context.machine.max_pids;
        let left = max.saturating_sub(gauges.tasks());
        observed.insert(Signal::PidAvailable, Observation { capacity: max, available: left });
        observed
    }
}

fn bytes(disk: FileSystem) -> Observation {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    Observation { capacity: count(disk.total_bytes), available: count(disk.available_bytes) }
}

fn inodes(disk: FileSystem) -> Observation {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    Observation { capacity: count(disk.inodes), available: count(disk.inodes_free) }
}

async fn all_done(pods: &[Arc<PodHandle>]) {
    for handle in pods {
        let mut changes = handle.status_changes();
        while !handle.is_done() {
            if changes.changed().await.is_err() {
                break;
            }
        }
    }
}
