//! Replacing pods of an old template (RollingUpdate).

use orlop_api::intstr::Rounding;
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{DaemonSet, Node, Pod};

use super::World;
use super::manage::{Work, max_surge};
use crate::common::scaled;

/// What may be replaced now.
pub fn work<'a>(world: &World<'a>) -> Work<'a> {
    let strategy = world.set.spec.update_strategy.as_ref().and_then(|s| s.type_.as_deref());
    if strategy.is_some_and(|strategy| strategy != "RollingUpdate") {
        return Work::default();
    }
    let wanted = world.nodes.iter().filter(|node| world.placement.fitness(node).should_run).count() as i32;
    match max_surge(world.set, wanted) {
        0 => in_place(world, max_unavailable(world.set, wanted).max(i32::from(wanted > 0))),
        surge => surging(world, surge, wanted),
    }
}

fn max_unavailable(set: &DaemonSet, nodes: i32) -> i32 {
    let rolling = set.spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
    rolling.and_then(|r| r.max_unavailable.as_ref()).map_or(1, |max| scaled(max, nodes, Rounding::Up))
}

/// The pods of the new and of the old template on one node.
#[derive(Clone, Copy, Default)]
struct Pair<'a> {
    new: Option<&'a Pod>,
    old: Option<&'a Pod>,
}

impl<'a> Pair<'a> {
    /// `None` when there are two of a kind: those are put in order first.
    fn of(world: &World, pods: &[&'a Pod]) -> Option<Self> {
        let mut pair = Self::default();
        for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            let side = if world.is_updated(pod) { &mut pair.new } else { &mut pair.old };
            if side.replace(pod).is_some() {
                return None;
            }
        }
        Some(pair)
    }
}

/// Every node that has pods, or should have one.
fn pairs<'a>(world: &World<'a>) -> Vec<(Option<&'a Node>, Option<Pair<'a>>)> {
    let known =
        world.nodes.iter().filter(|node| !world.on(node).is_empty() || world.placement.fitness(node).should_run);
    let known = known.map(|node| {
        let here = world.pods.get(Typed::name(&***node)).map(Vec::as_slice).unwrap_or_default();
        (Some(&***node), Pair::of(world, here))
    });
    let gone = world.pods.iter().filter(|(name, _)| world.nodes.iter().all(|node| Typed::name(&***node) != *name));
    known.chain(gone.map(|(_, pods)| (None, Pair::of(world, pods)))).collect()
}

/// An old pod goes before the new one comes, as long as not too many are unavailable.
fn in_place<'a>(world: &World<'a>, max_unavailable: i32) -> Work<'a> {
    let (mut unavailable, mut replaceable, mut candidates) = (0, Vec::new(), Vec::new());
    for (_, pair) in pairs(world) {
        match pair {
            Some(Pair { new: Some(new), old: None }) => unavailable += i32::from(!world.is_available(new)),
            Some(Pair { new: None, old: Some(old) }) if world.is_available(old) => candidates.push(old),
            Some(Pair { new: None, old: Some(old) }) => {
                // It serves nobody anyway.
                replaceable.push(old);
                unavailable += 1;
            }
            _ => unavailable += 1,
        }
    }
    let budget = (max_unavailable - unavailable).max(0) as usize;
    replaceable.extend(candidates.into_iter().take(budget));
    Work { create: Vec::new(), delete: replaceable }
}

/// A new pod comes beside the old one, which goes once the new one is available.
fn surging<'a>(world: &World<'a>, max_surge: i32, wanted: i32) -> Work<'a> {
    let (mut surge, mut available) = (0, 0);
    let (mut delete, mut misplaced, mut allowed, mut candidates) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (node, pair) in pairs(world) {
        let Some(pair) = pair else {
            surge += 1;
            continue;
        };
        available += i32::from(pair.old.or(pair.new).is_some_and(|pod| world.is_available(pod)));
        match (pair.old, pair.new) {
            (Some(old), Some(new)) if world.is_available(new) => delete.push(old),
            (Some(_), Some(_)) => surge += 1,
            (Some(old), None) => {
                let Some(node) = node else { continue };
                match (world.is_available(old), world.placement.fitness(node).should_run) {
                    (true, true) => candidates.push(Typed::name(node)),
                    (true, false) => misplaced.push(old),
                    (false, true) => allowed.push(Typed::name(node)),
                    (false, false) => delete.push(old),
                }
            }
            (None, _) => {}
        }
    }
    // One that serves where it should not be stays until there is another elsewhere.
    delete.extend(misplaced.into_iter().take((available - wanted).max(0) as usize));
    allowed.extend(candidates.into_iter().take((max_surge - surge).max(0) as usize));
    Work { create: allowed, delete }
}
