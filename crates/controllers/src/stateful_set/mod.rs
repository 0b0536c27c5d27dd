//! StatefulSet: pods with names and storage of their own, made, replaced and removed one after the
//! other (`pkg/controller/statefulset`).
//!
//! A decision walks through upstream's phases, and the first that has to wait ends it: every wanted
//! ordinal has its pod, pods beyond them go, and what is of an old revision is replaced.

mod claims;
mod identity;
mod revision;
mod status;
#[cfg(test)]
pub(crate) mod tests;
mod update;
mod work;

use jiff::Timestamp;
use orlop_api::selector::Selector;
use orlop_api::typed::kinds::{ControllerRevision, PersistentVolumeClaim, Pod, StatefulSet};
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, Step, View};

use crate::common::owners::{by_controller, claim, owned_and_orphans, wake_owner};
use work::Work;

pub fn controller() -> Controller {
    let sources = vec![
        Source::subject::<StatefulSet>(),
        Source::indexed::<Pod>(vec![by_controller()], |delta, view, wake| {
            wake_owner::<StatefulSet, Pod>(delta, view, wake, selector);
        }),
        Source::indexed::<ControllerRevision>(vec![by_controller()], |_, _, _| {}),
        Source::silent::<PersistentVolumeClaim>(),
    ];
    let mut grants = vec![
        Grant::new("", &["pods"], &["list", "watch", "get", "create", "delete", "update", "patch"]),
        Grant::new("apps", &["statefulsets"], &["get", "list", "watch"]),
        Grant::new("apps", &["statefulsets/status"], &["update"]),
        Grant::new("apps", &["statefulsets/finalizers"], &["update"]),
        Grant::new("apps", &["controllerrevisions"], &["get", "create", "delete", "update", "patch", "list", "watch"]),
        Grant::new("", &["persistentvolumeclaims"], &["get", "create", "list", "watch", "update", "delete"]),
        Grant::new("", &["pods/finalizers"], &["update"]),
    ];
    grants.extend(Grant::EVENTS);
    Controller::new("statefulset-controller", "statefulset", sources, grants, decide)
}

fn selector(set: &StatefulSet) -> Selector {
    Selector::from_typed(&set.spec.selector).unwrap_or_else(|_| Selector::nothing())
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let Some(set) = view.subject::<StatefulSet>(key) else { return Plan::none() };
    let selector = selector(set);
    let members = owned_and_orphans::<StatefulSet, Pod>(view, set).filter(|pod| identity::is_member(set, pod));
    let pods = claim(&**set, &selector, members);
    let revisions = claim(&**set, &selector, owned_and_orphans::<StatefulSet, ControllerRevision>(view, set));
    let adoptions = [pods.writes, revisions.writes].concat();
    let history = revision::History::resolve(set, revisions.mine, view);
    let mut work = Work::new(set, &history, pods.mine, view, now);
    if view.failure().is_some() {
        // Only told; the next try comes later.
        return work.finish();
    }
    if !adoptions.is_empty() {
        work.plan.steps.push(Step::Together(adoptions));
    }
    if let Some(write) = history.write.clone() {
        work.plan.write(write);
    }
    if set.metadata.deletion_timestamp.is_none() {
        work.run();
    }
    let truncated = history.truncate(set, &work);
    let mut plan = work.finish();
    if !truncated.is_empty() {
        plan.steps.push(Step::Together(truncated));
    }
    plan
}
