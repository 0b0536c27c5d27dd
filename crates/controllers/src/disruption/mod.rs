//! PodDisruptionBudgets: how many pods may be evicted right now (`pkg/controller/disruption`).

mod expected;
pub mod stale;
mod status;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use orlop_api::selector::Selector;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use orlop_api::typed::kinds::{Deployment, Pod, PodDisruptionBudget, ReplicaSet, ReplicationController, StatefulSet};
use orlop_client::cache::Delta;
use orlop_client::engine::{Controller, Grant, Key, Note, Plan, Source, View, Write};

use expected::Expected;

/// A pod that was to be evicted and still stands after this long stays after all.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);

const NAME: &str = "disruption-controller";

pub fn controller() -> Controller {
    let sources = vec![
        Source::subject::<PodDisruptionBudget>(),
        Source::of::<Pod>(wake_budgets),
        Source::silent::<Deployment>(),
        Source::silent::<ReplicaSet>(),
        Source::silent::<ReplicationController>(),
        Source::silent::<StatefulSet>(),
    ];
    let mut controller = Controller::new(NAME, "disruption", sources, grants(), decide);
    controller.event_source = "controllermanager";
    controller
}

fn grants() -> Vec<Grant> {
    let mut grants = vec![
        Grant::new("apps", &["deployments", "replicasets", "statefulsets"], &["get", "list", "watch"]),
        Grant::new("", &["replicationcontrollers"], &["get", "list", "watch"]),
        Grant::new("policy", &["poddisruptionbudgets"], &["get", "list", "watch"]),
        Grant::new("policy", &["poddisruptionbudgets/status"], &["update"]),
        Grant::new("", &["pods/status"], &["patch", "update"]),
        Grant::new("*", &["*/scale"], &["get"]),
    ];
    grants.extend(Grant::EVENTS);
    grants
}

fn selector(budget: &PodDisruptionBudget) -> Selector {
    let selector = budget.spec.as_ref().and_then(|s| s.selector.as_ref());
    selector.and_then(|s| Selector::from_typed(s).ok()).unwrap_or_else(Selector::nothing)
}

fn wake_budgets(delta: &Delta<Pod>, view: &View, wake: &mut dyn FnMut(Key)) {
    for budget in view.of::<PodDisruptionBudget>().namespace(Typed::namespace(&**delta.object())) {
        let selector = selector(budget);
        if delta.sides().any(|pod| selector.matches_opt(pod.metadata.labels.as_ref())) {
            wake(Key::of(&**budget));
        }
    }
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(budget) = view.subject::<PodDisruptionBudget>(key) else { return plan };
    let selector = selector(budget);
    let all = view.of::<Pod>().namespace(Typed::namespace(&**budget));
    let pods: Vec<&Arc<Pod>> = all.filter(|pod| selector.matches_opt(pod.metadata.labels.as_ref())).collect();
    if pods.is_empty() {
        plan.note(Note::normal(&**budget, "NoPods", "No matching pods found"));
    }
    let status = match Expected::of(budget, &pods, view) {
        Ok(expected) => {
            if expected.has_unmanaged {
                plan.note(unmanaged(budget));
            }
            let disrupted = status::Disrupted::of(budget, &pods, now);
            plan.notes.extend(disrupted.notes);
            disrupted.recheck.into_iter().for_each(|at| plan.wake_by(at));
            status::status(budget, &pods, &expected, disrupted.map, now)
        }
        Err(why) => {
            let text = format!("Failed to calculate the number of expected pods: {why}");
            plan.note(Note::warning(&**budget, "CalculateExpectedPodCountFailed", text));
            status::failed(budget, &why, now)
        }
    };
    if budget.status.as_ref() != Some(&status) {
        plan.write(Write::update_status(&PodDisruptionBudget { status: Some(status), ..(**budget).clone() }));
    } else {
        // Told when it came to be so.
        plan.notes.clear();
    }
    plan
}

fn unmanaged(budget: &PodDisruptionBudget) -> Note {
    let selector = budget.spec.as_ref().and_then(|s| s.selector.as_ref());
    let text = format!(
        "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of \
         the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods \
         please set \".spec.minAvailable\" field of the PDB to an integer value.",
        selector.map_or_else(|| "nil".to_owned(), printed)
    );
    Note::warning(budget, "UnmanagedPods", text)
}

/// As Go prints it.
fn printed(selector: &LabelSelector) -> String {
    let labels: String =
        selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}: {value},")).collect();
    let expressions = selector.match_expressions.iter().flatten().map(|e| {
        let values = e.values.clone().unwrap_or_default().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", e.key, e.operator)
    });
    let expressions: String = expressions.collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}
