//! The working copy of one decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use orlop_api::intstr::Rounding;
use orlop_api::typed::k8s_openapi::api::apps::v1::{DeploymentStatus, ReplicaSetSpec};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_api::typed::kinds::{Deployment, ReplicaSet};
use orlop_client::engine::{Note, Plan, View, Write};

use super::{revision, template};
use crate::common::owners::controller_reference;
use crate::common::scaled;

/// A ReplicaSet as seen, and as it should be.
pub struct Set {
    pub seen: Arc<ReplicaSet>,
    change: Option<Box<ReplicaSet>>,
    is_new: bool,
}

impl Set {
    fn known(seen: Arc<ReplicaSet>) -> Self {
        Self { seen, change: None, is_new: false }
    }

    /// As it will be after this plan.
    pub fn object(&self) -> &ReplicaSet {
        self.change.as_deref().unwrap_or(&self.seen)
    }

    pub fn change(&mut self) -> &mut ReplicaSet {
        self.change.get_or_insert_with(|| Box::new((*self.seen).clone()))
    }

    /// Wanted pods, after this plan.
    pub fn replicas(&self) -> i32 {
        self.object().spec.replicas.unwrap_or(1)
    }

    /// Wanted pods, as seen.
    pub fn replicas_seen(&self) -> i32 {
        self.seen.spec.replicas.unwrap_or(1)
    }

    pub fn available(&self) -> i32 {
        self.seen.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0)
    }

    pub fn name(&self) -> &str {
        self.seen.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.object().metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Old to new: by creation, then name.
    pub fn age_key(&self) -> impl Ord + use<> {
        (self.seen.metadata.creation_timestamp.as_ref().map(|t| t.0), self.seen.metadata.name.clone())
    }
}

/// One Deployment being decided about.
pub struct Rollout<'a> {
    pub seen: &'a Arc<Deployment>,
    /// Oldest first.
    pub sets: Vec<Set>,
    /// The set of the wanted template.
    pub new: Option<usize>,
    pub status: DeploymentStatus,
    pub annotations: BTreeMap<String, String>,
    pub now: Timestamp,
    pub plan: Plan,
    /// Sets to write, in order.
    touched: Vec<usize>,
}

pub fn strategy(deployment: &Deployment) -> &str {
    deployment.spec.strategy.as_ref().and_then(|s| s.type_.as_deref()).unwrap_or("RollingUpdate")
}

impl<'a> Rollout<'a> {
    pub fn new(seen: &'a Arc<Deployment>, sets: Vec<Arc<ReplicaSet>>, now: Timestamp) -> Self {
        let mut sets: Vec<Set> = sets.into_iter().map(Set::known).collect();
        sets.sort_by_cached_key(Set::age_key);
        // Of several with the template the oldest is the one (kubernetes#40415).
        let wanted = |set: &Set| template::same(set.seen.spec.template.as_ref(), &seen.spec.template);
        let new = sets.iter().position(wanted);
        Self {
            seen,
            sets,
            new,
            status: seen.status.clone().unwrap_or_default(),
            annotations: seen.metadata.annotations.clone().unwrap_or_default(),
            now,
            plan: Plan::none(),
            touched: Vec::new(),
        }
    }

    pub fn replicas(&self) -> i32 {
        self.seen.spec.replicas.unwrap_or(1)
    }

    pub fn is_rolling(&self) -> bool {
        strategy(self.seen) == "RollingUpdate"
    }

    /// Pods allowed above, and pods that may be missing from, what is wanted.
    fn fenceposts(&self) -> (i32, i32) {
        let rolling = self.seen.spec.strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
        let total = self.replicas();
        let surge = rolling.and_then(|r| r.max_surge.as_ref()).map(|v| scaled(v, total, Rounding::Up));
        let missing = rolling.and_then(|r| r.max_unavailable.as_ref()).map(|v| scaled(v, total, Rounding::Down));
        match (surge.unwrap_or(0), missing.unwrap_or(0)) {
            // Rounding may leave no room at all; a quota might not allow a surge, so a gap it is.
            (0, 0) => (0, 1),
            both => both,
        }
    }

    pub fn max_surge(&self) -> i32 {
        if self.is_rolling() { self.fenceposts().0 } else { 0 }
    }

    pub fn max_unavailable(&self) -> i32 {
        if self.is_rolling() && self.replicas() > 0 { self.fenceposts().1.min(self.replicas()) } else { 0 }
    }

    /// Every set but the new one, oldest first.
    pub fn old(&self) -> impl DoubleEndedIterator<Item = usize> + use<> {
        let new = self.new;
        (0..self.sets.len()).filter(move |at| Some(*at) != new)
    }

    /// Wanted pods of all sets, as seen (a set made by this plan included).
    pub fn total_replicas(&self) -> i32 {
        self.sets.iter().map(Set::replicas_seen).sum()
    }

    pub fn touch(&mut self, at: usize) -> &mut ReplicaSet {
        if !self.touched.contains(&at) {
            self.touched.push(at);
        }
        self.sets[at].change()
    }

    /// Makes the set of the wanted template, unless it is there. `false`: its name is taken by
    /// something else; the collision count goes up and the next decision tries another name.
    pub fn ensure_new(&mut self, view: &View) -> bool {
        if self.new.is_some() {
            return true;
        }
        let made = self.make_set();
        let name = made.metadata.name.as_deref().unwrap_or_default();
        let taken = view.of::<ReplicaSet>().get(made.metadata.namespace.as_deref().unwrap_or_default(), name);
        if taken.is_some() {
            self.status.collision_count = Some(self.status.collision_count.unwrap_or(0) + 1);
            return false;
        }
        let at = self.sets.len();
        self.sets.push(Set { seen: Arc::new(made), change: None, is_new: true });
        self.new = Some(at);
        let size = self.new_size(at);
        let revision = revision::max(self.old().map(|i| &self.sets[i])) + 1;
        let (desired, max) = (self.replicas(), self.replicas() + self.max_surge());
        let deployment = self.seen.clone();
        let set = self.touch(at);
        set.spec.replicas = Some(size);
        revision::annotate(&deployment, set, revision);
        revision::set_sizes(set, desired, max);
        // As if it had been seen so: sums count it.
        self.sets[at].seen = Arc::new(self.sets[at].object().clone());
        self.note_new_set(at, revision);
        true
    }

    fn make_set(&self) -> ReplicaSet {
        let deployment = self.seen;
        let hash = template::hash(&deployment.spec.template, self.status.collision_count);
        let mut template = deployment.spec.template.clone();
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(template::HASH_LABEL.to_owned(), hash.clone());
        let labels = labels.clone();
        let mut selector = deployment.spec.selector.clone();
        selector.match_labels.get_or_insert_default().insert(template::HASH_LABEL.to_owned(), hash.clone());
        ReplicaSet {
            metadata: ObjectMeta {
                name: Some(template::set_name(deployment.metadata.name.as_deref().unwrap_or_default(), &hash)),
                namespace: deployment.metadata.namespace.clone(),
                owner_references: Some(vec![controller_reference(&**deployment)]),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            spec: ReplicaSetSpec {
                replicas: Some(0),
                min_ready_seconds: deployment.spec.min_ready_seconds,
                selector,
                template: Some(template),
            },
            status: None,
        }
    }

    /// Emits one write per touched set. Call once, before the status.
    pub fn write_sets(&mut self) {
        for at in std::mem::take(&mut self.touched) {
            let set = &self.sets[at];
            let (name, before, after) = (set.name(), set.replicas_seen(), set.replicas());
            let write = if set.is_new {
                let message = format!("Failed to create new replica set {name:?}: {{error}}");
                let write = Write::create(set.object());
                let write = write.failed(Note::warning(&**self.seen, "ReplicaSetCreateError", message));
                if after > 0 { write.done(self.scaled_note(name, 0, after)) } else { write }
            } else if before == after {
                Write::update(set.object())
            } else {
                Write::update(set.object()).done(self.scaled_note(name, before, after))
            };
            self.plan.write(write);
        }
    }

    fn scaled_note(&self, name: &str, from: i32, to: i32) -> Note {
        let direction = if from < to { "up" } else { "down" };
        let text = format!("Scaled {direction} replica set {name} from {from} to {to}");
        Note::normal(&**self.seen, "ScalingReplicaSet", text)
    }

    /// Ends the decision: writes the status (and the annotations that travel with it) if it changed.
    pub fn finish(mut self, status: DeploymentStatus) -> Plan {
        self.write_sets();
        let old = self.seen.status.clone().unwrap_or_default();
        let annotations = self.seen.metadata.annotations.clone().unwrap_or_default();
        if tidy(status.clone()) != tidy(old) || annotations != self.annotations {
            let mut changed = (**self.seen).clone();
            changed.metadata.annotations = Some(self.annotations);
            changed.status = Some(tidy(status));
            self.plan.write(Write::update_status(&changed));
        }
        self.plan
    }
}

/// Zero counts as they go over the wire: not at all.
fn tidy(mut status: DeploymentStatus) -> DeploymentStatus {
    for count in [
        &mut status.replicas,
        &mut status.updated_replicas,
        &mut status.ready_replicas,
        &mut status.available_replicas,
        &mut status.unavailable_replicas,
    ] {
        *count = count.filter(|n| *n != 0);
    }
    status.conditions = status.conditions.filter(|c| !c.is_empty());
    status
}
