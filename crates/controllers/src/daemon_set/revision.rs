//! The set's history: which revision is of the wanted template.

use std::sync::Arc;

use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{ControllerRevision, DaemonSet, Pod};
use orlop_client::engine::{View, Write};
use serde_json::json;

use crate::common::history;

/// On revisions their hash, on pods that of their revision.
pub const HASH_LABEL: &str = "controller-revision-hash";

pub struct History {
    /// Of the wanted template's revision.
    pub hash: String,
    pub collisions: Option<i32>,
    /// Makes that revision the newest, and the only one of its template.
    pub writes: Vec<Write>,
    /// Of other templates, oldest first.
    old: Vec<Arc<ControllerRevision>>,
}

fn hash(revision: &ControllerRevision) -> &str {
    let label = revision.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL));
    label.map_or_else(|| Typed::name(revision), String::as_str)
}

fn hash_of_pod(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(HASH_LABEL).map(String::as_str)
}

impl History {
    pub fn resolve(set: &DaemonSet, mine: Vec<&Arc<ControllerRevision>>, pods: &[&Arc<Pod>], view: &View) -> Self {
        let all = history::sorted(mine.into_iter().cloned().collect());
        let (mut same, old): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|revision| history::restores(revision, &set.spec.template));
        let (number, mut collisions) = (history::next(&old), set.status.as_ref().and_then(|s| s.collision_count));
        let Some(current) = same.pop() else {
            let new = unused(set, number, &mut collisions, view);
            let hash = hash(&new).to_owned();
            return Self { hash, collisions, writes: vec![Write::create(&new)], old };
        };
        let mut writes = relabel(pods, &same, hash(&current));
        writes.extend(same.iter().map(|duplicate| Write::delete(&**duplicate)));
        if history::number(&current) < number {
            writes.push(history::renumber(&current, number));
        }
        Self { hash: hash(&current).to_owned(), collisions, writes, old }
    }

    /// Deletes what is beyond the limit and no pod's revision any more.
    pub fn truncate(&self, set: &DaemonSet, pods: &[&Arc<Pod>]) -> Vec<Write> {
        let limit = set.spec.revision_history_limit.unwrap_or(10);
        let surplus = self.old.len().saturating_sub(limit.try_into().unwrap_or(usize::MAX));
        let live =
            |revision: &&Arc<ControllerRevision>| pods.iter().any(|pod| hash_of_pod(pod) == Some(hash(revision)));
        let dead = self.old.iter().filter(|revision| !live(revision));
        dead.take(surplus).map(|revision| Write::delete(&**revision)).collect()
    }
}

/// Pods of a revision that is a duplicate become the kept one's.
fn relabel(pods: &[&Arc<Pod>], duplicates: &[Arc<ControllerRevision>], kept: &str) -> Vec<Write> {
    let is_duplicate = |pod: &&&Arc<Pod>| duplicates.iter().any(|revision| hash_of_pod(pod) == Some(hash(revision)));
    let patch = |pod: &&Arc<Pod>| Write::patch(&***pod, "", json!({"metadata": {"labels": {HASH_LABEL: kept}}}));
    pods.iter().filter(is_duplicate).map(patch).collect()
}

/// A new revision whose name nobody has.
fn unused(set: &DaemonSet, number: i64, collisions: &mut Option<i32>, view: &View) -> ControllerRevision {
    loop {
        let new = history::revision(set, &set.spec.template, number, collisions.unwrap_or(0), HASH_LABEL);
        if view.of::<ControllerRevision>().get(Typed::namespace(set), Typed::name(&new)).is_none() {
            return new;
        }
        *collisions = Some(collisions.unwrap_or(0) + 1);
    }
}
