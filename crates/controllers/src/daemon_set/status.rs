//! What a set tells about its pods.

use jiff::Timestamp;
use orlop_api::typed::k8s_openapi::api::apps::v1::DaemonSetStatus;

use super::World;
use crate::common::{nonzero, pods};

pub fn status(world: &World, collisions: Option<i32>) -> DaemonSetStatus {
    let (mut desired, mut current, mut misscheduled) = (0, 0, 0);
    let (mut ready, mut available, mut updated) = (0, 0, 0);
    for node in &world.nodes {
        let oldest = world.on(node).first();
        if !world.placement.fitness(node).should_run {
            misscheduled += i32::from(oldest.is_some());
            continue;
        }
        desired += 1;
        let Some(pod) = oldest else { continue };
        current += 1;
        ready += i32::from(pods::is_ready(pod));
        available += i32::from(world.is_available(pod));
        updated += i32::from(world.is_updated(pod));
    }
    DaemonSetStatus {
        desired_number_scheduled: desired,
        current_number_scheduled: current,
        number_misscheduled: misscheduled,
        number_ready: ready,
        number_available: nonzero(available),
        number_unavailable: nonzero(desired - available),
        updated_number_scheduled: nonzero(updated),
        observed_generation: world.set.metadata.generation,
        collision_count: collisions,
        conditions: world.set.status.as_ref().and_then(|s| s.conditions.clone()),
    }
}

/// When ready pods become available without anything happening to them.
pub fn next_look(world: &World) -> Option<Timestamp> {
    let min_ready = world.set.spec.min_ready_seconds.filter(|seconds| *seconds > 0)?;
    let waiting = world.pods.values().flatten().filter(|pod| pods::is_ready(pod) && !world.is_available(pod));
    waiting.filter_map(|pod| pods::available_at(pod, min_ready)).min()
}
