//! What a set tells about its pods.

use jiff::Timestamp;
use orlop_api::typed::k8s_openapi::api::apps::v1::StatefulSetStatus;
use orlop_api::typed::kinds::{Pod, StatefulSet};

use super::identity;
use super::revision::History;
use crate::common::{nonzero, pods};

pub fn of(set: &StatefulSet) -> StatefulSetStatus {
    set.status.clone().unwrap_or_default()
}

pub fn is_running_and_ready(pod: &Pod) -> bool {
    pods::phase(pod) == "Running" && pods::is_ready(pod)
}

/// Exists at the server: one that does not has no phase yet.
pub fn is_created(pod: &Pod) -> bool {
    !pods::phase(pod).is_empty()
}

/// Counts of what is there; the set's conditions are kept.
pub fn count<'a>(
    set: &StatefulSet,
    history: &History,
    members: impl Iterator<Item = &'a Pod>,
    now: Timestamp,
) -> StatefulSetStatus {
    let min_ready = set.spec.min_ready_seconds.unwrap_or(0);
    let (mut all, mut ready, mut available, mut current, mut updated) = (0, 0, 0, 0, 0);
    for pod in members.filter(|pod| is_created(pod)) {
        all += 1;
        ready += i32::from(is_running_and_ready(pod));
        available += i32::from(is_running_and_ready(pod) && pods::is_available(pod, min_ready, now));
        let stays = pod.metadata.deletion_timestamp.is_none();
        current += i32::from(stays && identity::revision(pod) == history.current.name);
        updated += i32::from(stays && identity::revision(pod) == history.update.name);
    }
    StatefulSetStatus {
        replicas: all,
        ready_replicas: nonzero(ready),
        available_replicas: Some(available),
        current_replicas: nonzero(current),
        updated_replicas: nonzero(updated),
        current_revision: Some(history.current.name.clone()),
        update_revision: Some(history.update.name.clone()),
        observed_generation: set.metadata.generation,
        collision_count: Some(history.collisions),
        conditions: of(set).conditions,
    }
}

/// Once every wanted pod is ready and of the new revision, that is the current one.
pub fn complete(set: &StatefulSet, status: &mut StatefulSetStatus) {
    let wanted = set.spec.replicas.unwrap_or(1);
    let is = |count: Option<i32>| count.unwrap_or(0) == wanted;
    if is(status.updated_replicas) && is(status.ready_replicas) && status.replicas == wanted {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
}

/// The status differs from what the set tells in more than its count of collisions.
pub fn is_news(set: &StatefulSet, status: &StatefulSetStatus) -> bool {
    let told = of(set);
    let same_collisions = StatefulSetStatus { collision_count: told.collision_count, ..status.clone() };
    let older = status.observed_generation <= told.observed_generation;
    let same_generation = StatefulSetStatus { observed_generation: told.observed_generation, ..same_collisions };
    !older || same_generation != StatefulSetStatus { available_replicas: told.available_replicas.or(Some(0)), ..told }
}
