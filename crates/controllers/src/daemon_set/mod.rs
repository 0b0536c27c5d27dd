//! DaemonSet: one pod on every node that is fit for it (`pkg/controller/daemon`).
//!
//! First every node gets the pods it should have; only when nothing is left to do there are pods of an
//! old template replaced.

mod manage;
mod placement;
mod pod;
mod revision;
mod status;
#[cfg(test)]
pub(crate) mod tests;
mod update;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use orlop_api::selector::Selector;
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{ControllerRevision, DaemonSet, Node, Pod};
use orlop_client::cache::Delta;
use orlop_client::engine::{Controller, Grant, Key, Note, Plan, Source, Step, View, Write};

use crate::common::owners::{by_controller, claim, controller_of, owned_and_orphans, wake_owner};
use placement::Placement;

pub fn controller() -> Controller {
    let sources = vec![
        Source::subject::<DaemonSet>(),
        Source::indexed::<Pod>(vec![by_controller()], |delta, view, wake| {
            wake_owner::<DaemonSet, Pod>(delta, view, wake, selector);
        }),
        Source::indexed::<ControllerRevision>(vec![by_controller()], wake_for_revision),
        Source::of::<Node>(wake_all),
    ];
    let mut grants = vec![
        Grant::new("apps", &["daemonsets"], &["get", "list", "watch"]),
        Grant::new("apps", &["daemonsets/status"], &["update"]),
        Grant::new("apps", &["daemonsets/finalizers"], &["update"]),
        Grant::new("", &["nodes"], &["list", "watch"]),
        Grant::new("", &["pods"], &["list", "watch", "create", "delete", "patch"]),
        Grant::new("", &["pods/binding"], &["create"]),
        Grant::new("apps", &["controllerrevisions"], &["get", "list", "watch", "create", "delete", "update", "patch"]),
    ];
    grants.extend(Grant::EVENTS);
    Controller::new("daemon-set-controller", "daemonset", sources, grants, decide)
}

fn selector(set: &DaemonSet) -> Selector {
    Selector::from_typed(&set.spec.selector).unwrap_or_else(|_| Selector::nothing())
}

/// A revision that somebody makes for the set is left alone until there is another reason to look at it.
fn wake_for_revision(delta: &Delta<ControllerRevision>, view: &View, wake: &mut dyn FnMut(Key)) {
    let is_made = delta.old.is_none() && controller_of(&**delta.object()).is_some();
    if !is_made {
        wake_owner::<DaemonSet, ControllerRevision>(delta, view, wake, selector);
    }
}

/// Which nodes are fit changes only with their labels and taints.
fn wake_all(delta: &Delta<Node>, view: &View, wake: &mut dyn FnMut(Key)) {
    let fitness = |node: &Arc<Node>| (node.metadata.labels.clone(), node.spec.as_ref().and_then(|s| s.taints.clone()));
    if delta.old.as_ref().map(fitness) != delta.new.as_ref().map(fitness) {
        view.of::<DaemonSet>().iter().for_each(|set| wake(Key::of(&**set)));
    }
}

/// What a decision knows.
struct World<'a> {
    set: &'a DaemonSet,
    nodes: Vec<&'a Arc<Node>>,
    placement: Placement,
    /// Pods by the node that they are for.
    pods: BTreeMap<String, Vec<&'a Pod>>,
    /// Tells pods of the wanted template.
    hash: String,
    now: Timestamp,
}

impl World<'_> {
    /// The pods for a node, oldest first, those that are bound before those that are not.
    fn on(&self, node: &Node) -> &[&Pod] {
        self.pods.get(Typed::name(node)).map_or(&[], Vec::as_slice)
    }

    fn is_updated(&self, pod: &Pod) -> bool {
        let label = |key: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        label(revision::HASH_LABEL) == Some(&self.hash)
            || pod::generation(self.set).is_some_and(|number| label(pod::GENERATION_LABEL) == Some(number))
    }

    fn is_available(&self, pod: &Pod) -> bool {
        crate::common::pods::is_available(pod, self.set.spec.min_ready_seconds.unwrap_or(0), self.now)
    }
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(set) = view.subject::<DaemonSet>(key) else { return plan };
    let selector = selector(set);
    if selector.is_empty() {
        let text = "This daemon set is selecting all pods. A non-empty selector is required.";
        plan.note(Note::warning(&**set, "SelectingAll", text));
        return plan;
    }
    // What a set that goes away still owns is the garbage collector's to sort out.
    if set.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let pods = claim(&**set, &selector, owned_and_orphans::<DaemonSet, Pod>(view, set));
    let revisions = claim(&**set, &selector, owned_and_orphans::<DaemonSet, ControllerRevision>(view, set));
    let history = revision::History::resolve(set, revisions.mine, &pods.mine, view);
    let world = World {
        set,
        nodes: view.of::<Node>().iter().collect(),
        placement: Placement::of(set),
        pods: pod::by_node(&pods.mine),
        hash: history.hash.clone(),
        now,
    };
    let failed = view.failure().is_some();
    if !failed {
        let adoptions = [pods.writes, revisions.writes].concat();
        if !adoptions.is_empty() {
            plan.steps.push(Step::Together(adoptions));
        }
        history.writes.iter().cloned().for_each(|write| plan.write(write));
        let work = manage::work(&world, &mut plan);
        let work = if work.is_empty() { update::work(&world) } else { work };
        plan.steps.extend(work.steps(&world));
        let old = history.truncate(set, &pods.mine);
        if !old.is_empty() {
            plan.steps.push(Step::Together(old));
        }
    }
    let status = status::status(&world, history.collisions);
    if set.status.as_ref() != Some(&status) {
        plan.write(Write::update_status(&DaemonSet { status: Some(status), ..(**set).clone() }));
    }
    status::next_look(&world).into_iter().for_each(|at| plan.wake_by(at));
    plan
}
