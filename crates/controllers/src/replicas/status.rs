//! The status of an owner of pods.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use orlop_api::selector::Selector;
use orlop_api::typed::k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use orlop_api::typed::kinds::Pod;
use orlop_client::engine::Failure;

use super::owner::ReplicaOwner;
use crate::common::{nonzero, pods, seconds};

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// What a status is computed from.
pub struct Report<'a, O> {
    pub owner: &'a O,
    pub active: &'a [&'a Arc<Pod>],
    pub terminating: usize,
    pub failure: Option<&'a Failure>,
    pub now: Timestamp,
}

impl<O: ReplicaOwner> Report<'_, O> {
    /// Only failing to make or remove pods is told in the status.
    pub fn failure_is_of_pods(&self) -> bool {
        self.failure.is_some_and(|f| f.resource == "pods" && matches!(f.verb, "create" | "delete"))
    }

    pub fn status(&self) -> ReplicaSetStatus {
        let old = self.owner.status();
        let count = |test: &dyn Fn(&Pod) -> bool| self.active.iter().filter(|pod| test(pod)).count() as i32;
        let template_labels = self.owner.template().and_then(|t| t.metadata.as_ref()).and_then(|m| m.labels.as_ref());
        let fully_labeled = Selector::from_labels(template_labels.into_iter().flatten());
        ReplicaSetStatus {
            replicas: self.active.len() as i32,
            fully_labeled_replicas: nonzero(count(&|pod| fully_labeled.matches_opt(pod.metadata.labels.as_ref()))),
            ready_replicas: nonzero(count(&pods::is_ready)),
            available_replicas: nonzero(count(&|pod| self.is_available(pod))),
            terminating_replicas: O::COUNTS_TERMINATING.then_some(self.terminating as i32),
            observed_generation: self.owner.meta().generation,
            conditions: self.conditions(old.conditions),
        }
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pods::is_available(pod, self.owner.min_ready_seconds(), self.now)
    }

    fn conditions(&self, old: Option<Vec<ReplicaSetCondition>>) -> Option<Vec<ReplicaSetCondition>> {
        let mut conditions = old.unwrap_or_default();
        let known = conditions.iter().any(|c| c.type_.as_deref() == Some(REPLICA_FAILURE));
        match self.failure {
            Some(failure) if !known => conditions.push(self.replica_failure(failure)),
            None => conditions.retain(|c| c.type_.as_deref() != Some(REPLICA_FAILURE)),
            // The first failure's words stay until it is over.
            Some(_) => {}
        }
        (!conditions.is_empty()).then_some(conditions)
    }

    fn replica_failure(&self, failure: &Failure) -> ReplicaSetCondition {
        let deletes = failure.verb == "delete";
        let message =
            if deletes { format!("unable to delete pods: {}", failure.message) } else { failure.message.clone() };
        let text = |s: &str| Some(s.to_owned());
        ReplicaSetCondition {
            type_: text(REPLICA_FAILURE),
            status: text("True"),
            reason: text(if deletes { "FailedDelete" } else { "FailedCreate" }),
            message: Some(message),
            last_transition_time: Some(seconds(self.now)),
        }
    }

    /// When a ready pod becomes available without anything happening to it.
    pub fn next_look(&self) -> Option<Timestamp> {
        let min_ready = self.owner.min_ready_seconds();
        let waiting: Vec<_> = self.active.iter().filter(|pod| pods::is_ready(pod) && !self.is_available(pod)).collect();
        if min_ready == 0 || waiting.is_empty() {
            return None;
        }
        // A pod that does not say since when it is ready is looked at after the whole time.
        let fallback = self.now.checked_add(SignedDuration::from_secs(min_ready.into())).ok();
        waiting.iter().filter_map(|pod| pods::available_at(pod, min_ready)).min().or(fallback)
    }
}
