//! What ReplicaSet and ReplicationController have in common, under one trait.

use orlop_api::selector::Selector;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use orlop_api::typed::k8s_openapi::api::core::v1::{
    PodTemplateSpec, ReplicationControllerCondition, ReplicationControllerStatus,
};
use orlop_api::typed::kinds::{ReplicaSet, ReplicationController};

/// An owner of equal pods. Its status is a ReplicaSet's, which has all fields.
pub trait ReplicaOwner: Typed {
    /// `status.terminatingReplicas` exists.
    const COUNTS_TERMINATING: bool;

    fn replicas(&self) -> usize;
    fn min_ready_seconds(&self) -> i32;
    fn selector(&self) -> Selector;
    fn template(&self) -> Option<&PodTemplateSpec>;
    fn status(&self) -> ReplicaSetStatus;
    fn with_status(&self, status: ReplicaSetStatus) -> Self;
}

fn count(replicas: Option<i32>) -> usize {
    // The API defaults an absent count to 1 and refuses negative ones.
    replicas.unwrap_or(1).try_into().unwrap_or(0)
}

impl ReplicaOwner for ReplicaSet {
    const COUNTS_TERMINATING: bool = true;

    fn replicas(&self) -> usize {
        count(self.spec.replicas)
    }
    fn min_ready_seconds(&self) -> i32 {
        self.spec.min_ready_seconds.unwrap_or(0)
    }
    fn selector(&self) -> Selector {
        Selector::from_typed(&self.spec.selector).unwrap_or_else(|_| Selector::nothing())
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.template.as_ref()
    }
    fn status(&self) -> ReplicaSetStatus {
        self.status.clone().unwrap_or_default()
    }
    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        Self { status: Some(status), ..self.clone() }
    }
}

impl ReplicaOwner for ReplicationController {
    const COUNTS_TERMINATING: bool = false;

    fn replicas(&self) -> usize {
        count(self.spec.as_ref().and_then(|s| s.replicas))
    }
    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
    }
    fn selector(&self) -> Selector {
        match self.spec.as_ref().and_then(|s| s.selector.as_ref()) {
            Some(labels) if !labels.is_empty() => Selector::from_labels(labels),
            _ => Selector::nothing(),
        }
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref().and_then(|s| s.template.as_ref())
    }
    fn status(&self) -> ReplicaSetStatus {
        let own = self.status.clone().unwrap_or_default();
        let conditions = own.conditions.map(|list| {
            let same = |c: ReplicationControllerCondition| ReplicaSetCondition {
                last_transition_time: c.last_transition_time,
                message: c.message,
                reason: c.reason,
                status: Some(c.status),
                type_: Some(c.type_),
            };
            list.into_iter().map(same).collect()
        });
        ReplicaSetStatus {
            available_replicas: own.available_replicas,
            conditions,
            fully_labeled_replicas: own.fully_labeled_replicas,
            observed_generation: own.observed_generation,
            ready_replicas: own.ready_replicas,
            replicas: own.replicas,
            terminating_replicas: None,
        }
    }
    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        let conditions = status.conditions.map(|list| {
            let same = |c: ReplicaSetCondition| ReplicationControllerCondition {
                last_transition_time: c.last_transition_time,
                message: c.message,
                reason: c.reason,
                status: c.status.unwrap_or_default(),
                type_: c.type_.unwrap_or_default(),
            };
            list.into_iter().map(same).collect()
        });
        let own = ReplicationControllerStatus {
            available_replicas: status.available_replicas,
            conditions,
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
        };
        Self { status: Some(own), ..self.clone() }
    }
}
