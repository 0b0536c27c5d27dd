//! ReplicaSet and ReplicationController: keep as many pods of a template as wanted
//! (`pkg/controller/replicaset`, which serves both upstream too).

mod owner;
mod ranking;
mod status;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use orlop_api::typed::kinds::{Pod, ReplicaSet, ReplicationController};
use orlop_client::engine::{Controller, Grant, Key, Note, Plan, Source, Step, View, Write};

use crate::common::owners::{by_controller, claim, owned, owned_and_orphans, wake_owner};
use crate::common::pods;
use owner::ReplicaOwner;

/// At most this many pods are made or removed per decision.
const BURST_REPLICAS: usize = 500;

pub fn replica_set() -> Controller {
    let grants = vec![
        Grant::new("apps", &["replicasets"], &["get", "list", "watch", "update"]),
        Grant::new("apps", &["replicasets/status"], &["update"]),
        Grant::new("apps", &["replicasets/finalizers"], &["update"]),
        Grant::new("", &["pods"], &["list", "watch", "create", "delete", "patch"]),
    ];
    controller::<ReplicaSet>("replicaset-controller", "replicaset", grants)
}

pub fn replication_controller() -> Controller {
    let grants = vec![
        Grant::new("", &["replicationcontrollers"], &["get", "list", "watch", "update"]),
        Grant::new("", &["replicationcontrollers/status"], &["update"]),
        Grant::new("", &["replicationcontrollers/finalizers"], &["update"]),
        Grant::new("", &["pods"], &["list", "watch", "create", "delete", "patch"]),
    ];
    controller::<ReplicationController>("replication-controller", "replicationmanager", grants)
}

fn controller<O: ReplicaOwner>(name: &'static str, queue: &'static str, mut grants: Vec<Grant>) -> Controller {
    let owners = Source::indexed::<O>(vec![by_controller()], |delta, _, wake| wake(Key::of(&**delta.object())));
    let pods = Source::indexed::<Pod>(vec![by_controller()], |delta, view, wake| {
        wake_owner::<O, Pod>(delta, view, wake, O::selector);
    });
    grants.extend(Grant::EVENTS);
    Controller::new(name, queue, vec![owners, pods], grants, decide::<O>)
}

fn decide<O: ReplicaOwner>(key: &Key, view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(owner) = view.subject::<O>(key) else { return plan };
    let selector = owner.selector();
    let all: Vec<&Arc<Pod>> = owned_and_orphans(view, &**owner).collect();
    let claim = claim(&**owner, &selector, all.iter().copied().filter(|pod| pods::is_active(pod)));
    let terminating =
        crate::common::owners::claim(&**owner, &selector, all.iter().copied().filter(|pod| pods::is_terminating(pod)));
    let report = status::Report {
        owner: &**owner,
        active: &claim.mine,
        terminating: terminating.mine.len(),
        failure: view.failure(),
        now,
    };
    if view.failure().is_none() {
        if !claim.writes.is_empty() {
            plan.steps.push(Step::Together(claim.writes));
        }
        if owner.meta().deletion_timestamp.is_none() {
            plan.steps.extend(manage(&**owner, &claim.mine, view, now));
        }
    } else if !report.failure_is_of_pods() {
        return plan;
    }
    let status = report.status();
    if status != owner.status() {
        plan.write(Write::update_status(&owner.with_status(status)));
    }
    plan.wake_at = report.next_look();
    plan
}

/// Makes what is missing or removes what is too much.
fn manage<O: ReplicaOwner>(owner: &O, active: &[&Arc<Pod>], view: &View, now: Timestamp) -> Option<Step> {
    let wanted = owner.replicas();
    if active.len() < wanted {
        let count = (wanted - active.len()).min(BURST_REPLICAS);
        return Some(Step::SlowStart(vec![create(owner); count]));
    }
    let surplus = (active.len() - wanted).min(BURST_REPLICAS);
    if surplus == 0 {
        return None;
    }
    let victims = ranking::first_to_go(active, &related_pods(owner, view), surplus, now);
    Some(Step::Together(victims.into_iter().map(|pod| delete(owner, pod)).collect()))
}

fn create<O: ReplicaOwner>(owner: &O) -> Write {
    let mut pod = pods::from_template(owner, &owner.template().cloned().unwrap_or_default());
    pod.metadata.generate_name = Some(format!("{}-", owner.name()));
    Write::create(&pod).done(Note::normal(owner, "SuccessfulCreate", "Created pod: {name}")).failed(Note::warning(
        owner,
        "FailedCreate",
        "Error creating: {error}",
    ))
}

fn delete<O: ReplicaOwner>(owner: &O, pod: &Pod) -> Write {
    Write::delete(pod).done(Note::normal(owner, "SuccessfulDelete", "Deleted pod: {name}")).failed(Note::warning(
        owner,
        "FailedDelete",
        "Error deleting: {error}",
    ))
}

/// Pods of every owner that has the same controller (the ReplicaSets of one Deployment): they are what a node should
/// not hold too many of. Upstream takes those that the owners select, which differs for pods that are let go of, and
/// looks at every pod of the namespace.
fn related_pods<'a, O: ReplicaOwner>(owner: &O, view: &'a View) -> Vec<&'a Arc<Pod>> {
    let Some(reference) = crate::common::owners::controller_of(owner) else { return Vec::new() };
    let siblings = owned::<O>(view, &reference.uid);
    siblings.flat_map(|sibling| owned::<Pod>(view, sibling.uid())).collect()
}

/// Which `count` of `pods` to remove, of a controller whose pods have no siblings (`controller.ActivePods`).
pub fn first_to_go<'a>(pods: &[&'a Pod], count: usize, now: Timestamp) -> Vec<&'a Pod> {
    ranking::first_to_go(pods, &[], count, now)
}
