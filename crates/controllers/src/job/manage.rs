//! How many pods run: making what is missing, removing what is too much.

use orlop_api::typed::Typed;
use orlop_api::typed::kinds::Pod;
use orlop_client::engine::{Plan, Step};

use super::sync::{Sync, delete};
use super::{backoff, pod};
use crate::common::pods;
use crate::replicas::first_to_go;

/// Pods made or removed in one decision, at most.
const MAX_PER_DECISION: usize = 500;

/// Returns by how much the number of active pods changes.
pub fn manage(sync: &mut Sync, plan: &mut Plan) -> i32 {
    let active = sync.active.len() as i32;
    if sync.is_suspended() {
        return -remove(sync, active, plan);
    }
    let parallelism = sync.spec.parallelism.unwrap_or(1);
    let wanted = match sync.spec.completions {
        // After the first success nothing new is begun, and nothing stopped.
        None if sync.succeeded > 0 => active,
        None => parallelism,
        Some(completions) => (completions - sync.succeeded).min(parallelism).max(0),
    };
    let removed = remove(sync, (active - wanted).max(0), plan);
    if removed > 0 {
        return -removed;
    }
    let leaving = if sync.waits_for_termination() { sync.terminating } else { 0 };
    create(sync, wanted - leaving - active, plan)
}

/// Removes at least `count` pods, and those whose index is a duplicate or none of the Job's.
fn remove(sync: &mut Sync, count: i32, plan: &mut Plan) -> i32 {
    let mut surplus = unneeded(sync, count.try_into().unwrap_or(0));
    if !sync.is_suspended() {
        surplus.truncate(MAX_PER_DECISION);
    }
    if surplus.is_empty() {
        return 0;
    }
    // Without the finalizer they are not counted as failed.
    let tracked = surplus.iter().filter(|pod| pod::is_tracked(pod)).map(|pod| pod::untrack(pod)).collect::<Vec<_>>();
    if !tracked.is_empty() {
        plan.steps.push(Step::Together(tracked));
    }
    plan.steps.push(Step::Together(surplus.iter().map(|pod| delete(sync.job, pod)).collect()));
    sync.ready -= surplus.iter().filter(|pod| pods::is_ready(pod)).count() as i32;
    sync.terminating += surplus.len() as i32;
    let gone = |pod: &Pod| surplus.iter().any(|other| Typed::uid(*other) == Typed::uid(pod));
    sync.pods.retain(|pod| !gone(pod));
    surplus.len() as i32
}

fn unneeded<'a>(sync: &Sync<'a>, least: usize) -> Vec<&'a Pod> {
    let mut left = sync.active.clone();
    let mut surplus = Vec::new();
    if sync.is_indexed() {
        let mut by_index = std::collections::BTreeMap::<Option<i32>, Vec<&Pod>>::new();
        for pod in left.drain(..) {
            by_index.entry(sync.index(pod)).or_default().push(pod);
        }
        surplus.extend(by_index.remove(&None).unwrap_or_default());
        for same in by_index.into_values() {
            let duplicates = first_to_go(&same, same.len() - 1, sync.now);
            left.extend(same.iter().filter(|pod| !contains(&duplicates, pod)));
            surplus.extend(duplicates);
        }
    }
    let more = least.saturating_sub(surplus.len());
    surplus.extend(first_to_go(&left, more, sync.now));
    surplus
}

fn contains(pods: &[&Pod], pod: &Pod) -> bool {
    pods.iter().any(|other| Typed::uid(*other) == Typed::uid(pod))
}

fn create(sync: &Sync, count: i32, plan: &mut Plan) -> i32 {
    let count = usize::try_from(count).unwrap_or(0).min(MAX_PER_DECISION);
    if count == 0 {
        return 0;
    }
    if sync.spec.backoff_limit_per_index.is_none()
        && let Some(due) = backoff::of_job(sync).filter(|due| *due > sync.now)
    {
        plan.wake_by(due);
        return 0;
    }
    let creations: Vec<_> = if sync.is_indexed() {
        indexes(sync, count, plan).into_iter().map(|index| pod::create_indexed(sync, index)).collect()
    } else {
        vec![pod::create(sync); count]
    };
    let made = creations.len() as i32;
    if made > 0 {
        plan.steps.push(Step::SlowStart(creations));
    }
    made
}

/// The first indexes that nobody works on and that may be tried now.
fn indexes(sync: &Sync, count: usize, plan: &mut Plan) -> Vec<i32> {
    let mut taken: Vec<i32> = sync.active.iter().filter_map(|pod| pod::index(pod)).collect();
    if sync.waits_for_termination() {
        taken.extend(sync.pods.iter().filter(|pod| pods::is_terminating(pod)).filter_map(|pod| pod::index(pod)));
    }
    let mut over = sync.succeeded_indexes.with(taken);
    if let Some(failed) = &sync.failed_indexes {
        over = over.merged(failed);
    }
    let pending = over.first_missing(count, sync.completions());
    let (mut now, mut later) = (Vec::new(), Vec::new());
    for index in pending {
        match backoff::of_index(sync, index).filter(|due| *due > sync.now) {
            None => now.push(index),
            Some(due) => later.push(due),
        }
    }
    if now.is_empty() {
        later.into_iter().for_each(|due| plan.wake_by(due));
    }
    now
}
