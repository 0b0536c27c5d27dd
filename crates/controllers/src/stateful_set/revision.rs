//! Which template is being rolled out, and which one is being left.

use std::sync::Arc;

use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::PodTemplateSpec;
use orlop_api::typed::kinds::{ControllerRevision, StatefulSet};
use orlop_client::engine::{View, Write};

use super::work::Work;
use super::{identity, status};
use crate::common::history;

const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// A revision's name and its template.
#[derive(Clone)]
pub struct Revision {
    pub name: String,
    pub template: PodTemplateSpec,
}

impl Revision {
    fn of(revision: &ControllerRevision, fallback: &PodTemplateSpec) -> Self {
        let template = history::template(revision).unwrap_or_else(|| fallback.clone());
        Self { name: Typed::name(revision).to_owned(), template }
    }
}

/// The set's history as this decision finds and leaves it.
pub struct History {
    /// Oldest first.
    revisions: Vec<Arc<ControllerRevision>>,
    pub current: Revision,
    pub update: Revision,
    pub collisions: i32,
    /// Makes `update` the newest revision, where it is not.
    pub write: Option<Write>,
}

impl History {
    pub fn resolve(set: &StatefulSet, mine: Vec<&Arc<ControllerRevision>>, view: &View) -> Self {
        let revisions = history::sorted(mine.into_iter().cloned().collect());
        let mut collisions = status::of(set).collision_count.unwrap_or(0);
        let wanted = &set.spec.template;
        let number = history::next(&revisions);
        let equal = revisions.iter().rposition(|known| history::restores(known, wanted));
        let (name, write) = match equal {
            Some(at) if at + 1 == revisions.len() => (Typed::name(&*revisions[at]).to_owned(), None),
            Some(at) => (Typed::name(&*revisions[at]).to_owned(), Some(history::renumber(&revisions[at], number))),
            None => {
                let new = unused(set, wanted, number, &mut collisions, view);
                (Typed::name(&new).to_owned(), Some(Write::create(&new)))
            }
        };
        let update = Revision { name, template: wanted.clone() };
        let known = status::of(set).current_revision.unwrap_or_default();
        let current = revisions.iter().find(|revision| Typed::name(&***revision) == known);
        let current = current.map_or_else(|| update.clone(), |revision| Revision::of(revision, wanted));
        Self { revisions, current, update, collisions, write }
    }

    /// Deletes what is beyond the limit and nobody's revision any more.
    pub fn truncate(&self, set: &StatefulSet, work: &Work) -> Vec<Write> {
        let live = |name: &str| {
            name == self.current.name
                || name == self.update.name
                || work.pods.iter().any(|pod| identity::revision(pod) == name)
        };
        history::truncate(&self.revisions, live, set.spec.revision_history_limit.unwrap_or(10))
    }
}

/// A new revision whose name nobody has.
fn unused(
    set: &StatefulSet,
    wanted: &PodTemplateSpec,
    number: i64,
    collisions: &mut i32,
    view: &View,
) -> ControllerRevision {
    loop {
        let new = history::revision(set, wanted, number, *collisions, HASH_LABEL);
        if view.of::<ControllerRevision>().get(Typed::namespace(set), Typed::name(&new)).is_none() {
            return new;
        }
        *collisions += 1;
    }
}
