//! Which pods are missing and which should not be there.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use orlop_api::intstr::Rounding;
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{DaemonSet, Node, Pod};
use orlop_client::engine::{Note, Plan, Step};

use super::{World, pod};
use crate::common::{pods, scaled};

/// Pods made or removed in one decision, at most.
const BURST_REPLICAS: usize = 250;

/// A failed pod is replaced this long after it was made, at the earliest: a node that rejects the pod
/// would be tried again at once, for ever. (Upstream remembers failures and waits ever longer.)
const FAILED_POD_PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// Nodes that get a pod, and pods that go.
#[derive(Default)]
pub struct Work<'a> {
    pub create: Vec<&'a str>,
    pub delete: Vec<&'a Pod>,
}

impl Work<'_> {
    pub fn is_empty(&self) -> bool {
        self.create.is_empty() && self.delete.is_empty()
    }

    pub fn steps(&self, world: &World) -> Vec<Step> {
        let create: Vec<_> = self.create.iter().take(BURST_REPLICAS).collect();
        let create = create.into_iter().map(|node| pod::create(world.set, &world.hash, node)).collect::<Vec<_>>();
        let delete = self.delete.iter().take(BURST_REPLICAS).map(|pod| pod::delete(world.set, pod));
        let delete = delete.collect::<Vec<_>>();
        let steps = [
            (!create.is_empty()).then_some(Step::SlowStart(create)),
            (!delete.is_empty()).then_some(Step::Together(delete)),
        ];
        steps.into_iter().flatten().collect()
    }
}

/// Everything that does not concern old templates.
pub fn work<'a>(world: &World<'a>, plan: &mut Plan) -> Work<'a> {
    let mut work = Work::default();
    for node in &world.nodes {
        on_node(world, node, &mut work, plan);
    }
    // Nobody binds a pod to a node that is gone, and nobody else removes it.
    let known: BTreeSet<&str> = world.nodes.iter().map(|node| Typed::name(&***node)).collect();
    for (_, pods) in world.pods.iter().filter(|(node, _)| !known.contains(node.as_str())) {
        work.delete.extend(pods.iter().filter(|pod| pods::node_name(pod).is_none() && is_kept(pod)));
    }
    work
}

fn is_kept(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
}

fn on_node<'a>(world: &World<'a>, node: &'a Node, work: &mut Work<'a>, plan: &mut Plan) {
    let fitness = world.placement.fitness(node);
    let here = world.pods.get(Typed::name(node)).map(Vec::as_slice).unwrap_or_default();
    if fitness.should_run && here.is_empty() {
        work.create.push(Typed::name(node));
        return;
    }
    if !fitness.may_stay {
        work.delete.extend(here.iter().filter(|pod| is_kept(pod)));
        return;
    }
    let mut running: Vec<&'a Pod> = Vec::new();
    for pod in here.iter().copied().filter(|pod| is_kept(pod)) {
        match ended(world, pod, node, plan) {
            Some(true) => work.delete.push(pod),
            Some(false) => {}
            None => running.push(pod),
        }
    }
    if !allows_surge(world.set) {
        work.delete.extend(running.into_iter().skip(1));
        return;
    }
    if running.is_empty() && fitness.should_run {
        work.create.push(Typed::name(node));
    }
    work.delete.extend(surplus(world, &running));
}

/// Whether a pod that has ended is to go now; `None` for one that has not ended.
fn ended(world: &World, pod: &Pod, node: &Node, plan: &mut Plan) -> Option<bool> {
    let what = format!("daemon pod {}/{} on node {}", Typed::namespace(pod), Typed::name(pod), Typed::name(node));
    match pods::phase(pod) {
        "Failed" => {
            let made = pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0);
            let due = made.checked_add(FAILED_POD_PAUSE).unwrap_or(Timestamp::MAX);
            if due > world.now {
                plan.wake_by(due);
                return Some(false);
            }
            plan.note(Note::warning(world.set, "FailedDaemonPod", format!("Found failed {what}, will try to kill it")));
            Some(true)
        }
        "Succeeded" => {
            let text = format!("Found succeeded {what}, will try to delete it");
            plan.note(Note::normal(world.set, "SucceededDaemonPod", text));
            Some(true)
        }
        _ => None,
    }
}

/// While surging, an old and a new pod may share a node: until the old one is not ready any more, or
/// the new one is available. `running` is sorted by age.
fn surplus<'a>(world: &World, running: &[&'a Pod]) -> Vec<&'a Pod> {
    if running.len() <= 1 {
        return Vec::new();
    }
    let hash =
        |pod: &Pod| pod.metadata.labels.as_ref().and_then(|labels| labels.get(super::revision::HASH_LABEL)).cloned();
    let (new, old): (Vec<&Pod>, Vec<&Pod>) = running.iter().partition(|pod| hash(pod).as_ref() == Some(&world.hash));
    let mut surplus: Vec<&Pod> = new.iter().skip(1).chain(old.iter().skip(1)).copied().collect();
    if let (Some(new), Some(old)) = (new.first(), old.first())
        && (!pods::is_ready(old) || world.is_available(new))
    {
        surplus.push(old);
    }
    surplus
}

pub fn allows_surge(set: &DaemonSet) -> bool {
    max_surge(set, 1) > 0
}

/// Nodes that may have two pods at a time.
pub fn max_surge(set: &DaemonSet, nodes: i32) -> i32 {
    let strategy = set.spec.update_strategy.as_ref().filter(|s| s.type_.as_deref() != Some("OnDelete"));
    let surge = strategy.and_then(|s| s.rolling_update.as_ref()).and_then(|r| r.max_surge.as_ref());
    surge.map_or(0, |surge| scaled(surge, nodes, Rounding::Up))
}
