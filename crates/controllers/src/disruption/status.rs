//! What a budget tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::policy::v1::PodDisruptionBudgetStatus;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use orlop_api::typed::kinds::{Pod, PodDisruptionBudget};
use orlop_client::engine::Note;

use super::DELETION_TIMEOUT;
use super::expected::Expected;
use crate::common::{pods, seconds};

const CONDITION: &str = "DisruptionAllowed";

/// Pods whose eviction was allowed and that are not gone yet.
#[derive(Default)]
pub struct Disrupted {
    pub map: BTreeMap<String, Time>,
    pub notes: Vec<Note>,
    /// When the first of them will have taken too long.
    pub recheck: Option<Timestamp>,
}

impl Disrupted {
    pub fn of(budget: &PodDisruptionBudget, pods: &[&Arc<Pod>], now: Timestamp) -> Self {
        let mut disrupted = Self::default();
        let Some(known) = budget.status.as_ref().and_then(|s| s.disrupted_pods.as_ref()) else { return disrupted };
        for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            let Some(since) = known.get(Typed::name(&***pod)) else { continue };
            let due = since.0.checked_add(DELETION_TIMEOUT).unwrap_or(Timestamp::MAX);
            if due < now {
                // Upstream prints the namespace in the name's place.
                let namespace = Typed::namespace(budget);
                let text = format!("Pod was expected by PDB {namespace}/{namespace} to be deleted but it wasn't");
                disrupted.notes.push(Note::warning(&***pod, "NotDeleted", text));
            } else {
                disrupted.recheck = Some(disrupted.recheck.map_or(due, |known| known.min(due)));
                disrupted.map.insert(Typed::name(&***pod).to_owned(), since.clone());
            }
        }
        disrupted
    }
}

pub fn status(
    budget: &PodDisruptionBudget,
    pods: &[&Arc<Pod>],
    expected: &Expected,
    disrupted: BTreeMap<String, Time>,
    now: Timestamp,
) -> PodDisruptionBudgetStatus {
    let is_healthy = |pod: &&&Arc<Pod>| {
        let stays = pod.metadata.deletion_timestamp.is_none() && !disrupted.contains_key(Typed::name(&****pod));
        stays && pods::is_ready(pod)
    };
    let healthy = pods.iter().filter(is_healthy).count() as i32;
    // A budget that matches nothing yet allows nothing, until its first pods have been counted.
    let allowed = if expected.pods > 0 { (healthy - expected.healthy).max(0) } else { 0 };
    let (status, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let known = budget.status.as_ref();
    let generation = budget.metadata.generation;
    PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(expected.healthy),
        expected_pods: Some(expected.pods),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        observed_generation: generation,
        conditions: Some(with_condition(known, status, reason, "", generation, now)),
    }
}

/// Nothing is allowed while nothing can be counted.
pub fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let known = budget.status.clone().unwrap_or_default();
    let generation = known.observed_generation;
    let conditions = with_condition(Some(&known), "False", "SyncFailed", why, generation, now);
    PodDisruptionBudgetStatus { disruptions_allowed: Some(0), conditions: Some(conditions), ..known }
}

fn with_condition(
    known: Option<&PodDisruptionBudgetStatus>,
    status: &str,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions = known.and_then(|s| s.conditions.clone()).unwrap_or_default();
    let old = conditions.iter().find(|c| c.type_ == CONDITION && c.status == status);
    let new = Condition {
        type_: CONDITION.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: old.map_or_else(|| seconds(now), |old| old.last_transition_time.clone()),
    };
    match conditions.iter_mut().find(|c| c.type_ == CONDITION) {
        Some(known) => *known = new,
        None => conditions.push(new),
    }
    conditions
}
