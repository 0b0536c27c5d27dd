//! How long a Job waits after failures: 10 seconds, doubled with each that no success has followed.
//!
//! The count is read off the pods that are there: it survives a restart, and a pod that somebody removed
//! is forgotten.

use jiff::{SignedDuration, Timestamp};
use orlop_api::typed::kinds::Pod;

use super::pod;
use super::sync::Sync;
use crate::common::pods;

const INITIAL: SignedDuration = SignedDuration::from_secs(10);
const MAX: SignedDuration = SignedDuration::from_secs(600);

/// When the next pod may be made; `None` when nothing has failed since the last success.
pub fn of_job(sync: &Sync) -> Option<Timestamp> {
    let finished = |test: &dyn Fn(&Pod) -> bool| -> Vec<Timestamp> {
        sync.pods.iter().filter(|pod| test(pod)).map(|pod| finished_at(pod)).collect()
    };
    let succeeded = finished(&|pod| pods::phase(pod) == "Succeeded").into_iter().max();
    let failed = finished(&|pod| sync.is_failed(pod));
    let since: Vec<Timestamp> = failed.into_iter().filter(|at| succeeded.is_none_or(|last| *at > last)).collect();
    due(*since.iter().max()?, since.len())
}

/// When the index may be tried again.
pub fn of_index(sync: &Sync, index: i32) -> Option<Timestamp> {
    let (_, last) = sync.awaiting_replacement.iter().find(|(known, _)| *known == index)?;
    let failures = usize::try_from(pod::index_failures(last).total()).unwrap_or(0) + 1;
    due(finished_at(last), failures)
}

fn due(last: Timestamp, failures: usize) -> Option<Timestamp> {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(6);
    let wait = (INITIAL * 2_i32.pow(doublings)).min(MAX);
    last.checked_add(wait).ok()
}

/// When the pod ended, as well as that can be known: by its containers, by its no longer being ready,
/// by when it was asked to go, or else by when it was made.
pub fn finished_at(pod: &Pod) -> Timestamp {
    let created = pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0);
    containers_ended(pod).or_else(|| no_longer_ready(pod)).or_else(|| asked_to_go(pod)).unwrap_or(created)
}

/// The last end, if every container has one.
fn containers_ended(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let init = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten());
    let sidecars: Vec<&str> =
        init.filter(|c| c.restart_policy.as_deref() == Some("Always")).map(|c| c.name.as_str()).collect();
    let staying = status.init_container_statuses.iter().flatten().filter(|c| sidecars.contains(&c.name.as_str()));
    let mut last = None;
    for container in status.container_statuses.iter().flatten().chain(staying) {
        let ended = container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0;
        last = last.max(Some(ended));
    }
    last
}

fn no_longer_ready(pod: &Pod) -> Option<Timestamp> {
    let ready = pods::condition(pod.status.as_ref(), "Ready").filter(|c| c.status == "False")?;
    ready.last_transition_time.as_ref().map(|t| t.0)
}

fn asked_to_go(pod: &Pod) -> Option<Timestamp> {
    let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
    pod.metadata.deletion_timestamp.as_ref()?.0.checked_sub(grace).ok()
}
