//! `pods/NAME/eviction`: a deletion that asks the PodDisruptionBudget first
//! (`pkg/registry/core/pod/storage/eviction.go`).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orlop_api::selector::Selector;
use orlop_api::status::{GroupResource, StatusError};
use orlop_api::{Value, meta};
use orlop_base::clock;
use serde_json::json;

use super::{Creator, conditions};
use crate::call::Call;
use crate::options::DeleteOptions;
use crate::resource::{Resource, parse_stored};
use crate::{Server, verbs};

/// Pods that a budget may wait for; more means that its controller is behind.
const MAX_DISRUPTED_PODS: usize = 2000;
/// How often a busy budget or pod is tried again (`EvictionsRetry`).
const ATTEMPTS: usize = 20;

pub struct Evict;

impl Creator for Evict {
    fn create<'a>(
        &'a self,
        server: &'a Arc<Server>,
        call: &'a Call,
        eviction: Value,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<Value, StatusError>> {
        Box::pin(async move {
            if meta::name(&eviction) != call.info.name {
                return Err(StatusError::bad_request("name in URL does not match name in Eviction object"));
            }
            let mut options = DeleteOptions::from_object(&eviction["deleteOptions"])?;
            options.dry_run |= dry_run;
            evict(server, call, options).await?;
            Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
        })
    }
}

async fn evict(server: &Server, call: &Call, options: DeleteOptions) -> Result<(), StatusError> {
    let pinned = options.resource_version.is_some();
    for attempt in 1.. {
        let pod = newest(server, &call.resource, call)?;
        let mut options = options.clone();
        let mut budget = None;
        if ignores_budget(&pod) {
            // A pod that may yet become ready must not do so unseen.
            if !is_finished(&pod) && !pinned {
                options.resource_version = Some(meta::resource_version(&pod).to_owned());
            }
        } else {
            let decision = ask_budget(server, &pod, options.dry_run).await?;
            budget = decision.budget;
            if decision.pin_version && !pinned {
                options.resource_version = Some(meta::resource_version(&pod).to_owned());
            }
        }
        match mark_and_delete(server, call, &options).await {
            Err(error) if error.is_conflict() && !pinned => match budget {
                Some(name) => return Err(still_processed(&name)),
                None if attempt < ATTEMPTS => {}
                None => return Err(error),
            },
            other => return other,
        }
    }
    unreachable!("the loop ends by returning")
}

fn newest(server: &Server, pods: &Resource, call: &Call) -> Result<Value, StatusError> {
    let entry = server.store.newest(&pods.key(call.namespace(), &call.info.name)).ok_or_else(|| call.not_found())?;
    parse_stored(&entry)
}

fn phase(pod: &Value) -> &str {
    pod["status"]["phase"].as_str().unwrap_or_default()
}

fn is_finished(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed") || meta::is_terminating(pod)
}

fn ignores_budget(pod: &Value) -> bool {
    is_finished(pod) || phase(pod) == "Pending"
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// What the budget says to a pod that is up.
#[derive(Default)]
struct Consent {
    /// Whose budget it was.
    budget: Option<String>,
    /// Holds only for the pod as it is now.
    pin_version: bool,
}

async fn ask_budget(server: &Server, pod: &Value, dry_run: bool) -> Result<Consent, StatusError> {
    let budgets = server.resource("policy", "v1", "poddisruptionbudgets").ok_or_else(StatusError::path_not_found)?;
    let matching = matching_budgets(server, &budgets, pod)?;
    let name = match matching.as_slice() {
        [] => return Ok(Consent::default()),
        [one] => meta::name(one).to_owned(),
        _ => {
            let text =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(StatusError::new(500, "", text));
        }
    };
    if !is_ready(pod) && spares_unready(&matching[0]) {
        return Ok(Consent { budget: Some(name), pin_version: true });
    }
    let pod_name = meta::name(pod).to_owned();
    let at = (meta::namespace(pod), name.as_str());
    verbs::modify(server, &budgets, at, dry_run, |budget| decrement(budget, &pod_name)).await?;
    Ok(Consent { budget: Some(name), pin_version: false })
}

fn matching_budgets(server: &Server, budgets: &Resource, pod: &Value) -> Result<Vec<Value>, StatusError> {
    let snapshot = server.store.snapshot();
    let mut matching = Vec::new();
    for entry in snapshot.range(budgets.storage_key(), Some(meta::namespace(pod)), None) {
        let budget = parse_stored(entry)?;
        let selector = match &budget["spec"]["selector"] {
            Value::Null => Selector::nothing(),
            typed => {
                let typed = serde_json::from_value(typed.clone()).ok();
                typed.and_then(|typed| Selector::from_typed(&typed).ok()).unwrap_or_else(Selector::nothing)
            }
        };
        if selector.matches_object(pod) {
            matching.push(budget);
        }
    }
    Ok(matching)
}

/// Pods that are not ready count for nothing where the policy or the numbers say so (KEP 3017).
fn spares_unready(budget: &Value) -> bool {
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        || (number("currentHealthy") >= number("desiredHealthy") && number("desiredHealthy") > 0)
}

/// Takes one allowed disruption, or says why there is none.
fn decrement(budget: &mut Value, pod: &str) -> Result<(), StatusError> {
    let name = meta::name(budget).to_owned();
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let allowed = number("disruptionsAllowed");
    if number("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        return Err(still_processed(&name));
    }
    let disrupted = budget["status"]["disruptedPods"].as_object().map_or(0, orlop_api::Map::len);
    if allowed < 0 {
        return Err(exhausted(&name, "pdb disruptions allowed is negative", "pdb disruptions allowed is negative"));
    }
    if disrupted > MAX_DISRUPTED_PODS {
        return Err(exhausted(
            &name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
            "too many pending evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        let mut status =
            StatusError::too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 0);
        status.details = Some(Box::new(json!({ "causes": [cause(refusal(budget))] })));
        return Err(status);
    }
    let status = meta::child_mut(budget, "status");
    status.insert("disruptionsAllowed".into(), (allowed - 1).into());
    let pods = status.entry("disruptedPods").or_insert_with(|| json!({}));
    pods[pod] = clock::rfc3339().into();
    if allowed == 1 {
        disallow(budget);
    }
    Ok(())
}

fn refusal(budget: &Value) -> String {
    let name = meta::name(budget);
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let mut conditions = budget["status"]["conditions"].as_array().into_iter().flatten();
    let refused = conditions.find(|c| c["type"] == "DisruptionAllowed" && c["status"] == "False");
    let text = |field: &str| refused.and_then(|c| c[field].as_str()).unwrap_or_default();
    let (reason, message) = (text("reason"), text("message"));
    if !message.is_empty() && reason == "SyncFailed" {
        return format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
        );
    }
    let (healthy, desired) = (number("currentHealthy"), number("desiredHealthy"));
    if healthy <= desired {
        return format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
    }
    if !message.is_empty() {
        return format!("The disruption budget {name} does not allow evicting pods currently ({reason}): {message}");
    }
    format!("The disruption budget {name} does not allow evicting pods currently")
}

/// The last disruption is taken: the budget's condition says so at once.
fn disallow(budget: &mut Value) {
    let generation = budget["status"]["observedGeneration"].clone();
    for condition in budget["status"]["conditions"].as_array_mut().into_iter().flatten() {
        if condition["type"] == "DisruptionAllowed" {
            if condition["status"] != "False" {
                condition["lastTransitionTime"] = clock::rfc3339().into();
            }
            condition["status"] = "False".into();
            condition["reason"] = "InsufficientPods".into();
            condition["observedGeneration"] = generation.clone();
        }
    }
}

fn cause(message: String) -> Value {
    json!({ "reason": "DisruptionBudget", "message": message })
}

fn still_processed(budget: &str) -> StatusError {
    let text = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut status = StatusError::too_many_requests(text, 10);
    let message = format!("The disruption budget {budget} is still being processed by the server.");
    status.details = Some(Box::new(json!({ "retryAfterSeconds": 10, "causes": [cause(message)] })));
    status
}

fn exhausted(budget: &str, why: &str, cause_text: &str) -> StatusError {
    let gr = GroupResource { group: "policy", resource: "poddisruptionbudget" };
    let mut status = StatusError::forbidden(gr, budget, why);
    let message = format!("The disruption budget {budget} does not allow evicting pods currently: {cause_text}");
    if let Some(details) = status.details.as_deref_mut() {
        details["causes"] = json!([cause(message)]);
    }
    status
}

/// Says in the pod's status why it goes, then deletes it.
async fn mark_and_delete(server: &Server, call: &Call, options: &DeleteOptions) -> Result<(), StatusError> {
    let mut options = options.clone();
    let at = (call.namespace(), &*call.info.name);
    if !options.dry_run {
        let kind = call.resource.kind();
        let asked = options.clone();
        let marked = verbs::modify(server, &call.resource, at, false, |pod| {
            verbs::deletion::check_preconditions(kind, pod, &asked)?;
            let message = "Eviction API: evicting";
            conditions::set_true(pod, "DisruptionTarget", "EvictionByEvictionAPI", message);
            Ok(())
        })
        .await?;
        if options.resource_version.is_some() {
            options.resource_version = Some(marked.entry().revision.to_string());
        }
    }
    let target = verbs::Target { resource: &call.resource, namespace: at.0, name: at.1, admission: None };
    verbs::delete_one(server, target, &options).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(allowed: i64, healthy: i64, desired: i64) -> Value {
        json!({
            "metadata": {"name": "b", "generation": 1},
            "status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": healthy,
                       "desiredHealthy": desired, "conditions": [{"type": "DisruptionAllowed", "status": "True"}]},
        })
    }

    #[test]
    fn takes_a_disruption() {
        let mut b = budget(1, 3, 2);
        decrement(&mut b, "p").unwrap();
        assert_eq!(b["status"]["disruptionsAllowed"], 0);
        assert!(b["status"]["disruptedPods"]["p"].is_string());
        assert_eq!(b["status"]["conditions"][0]["reason"], "InsufficientPods");
    }

    #[test]
    fn refuses_in_upstreams_words() {
        let error = decrement(&mut budget(0, 2, 2), "p").unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            (429, "Cannot evict pod as it would violate the pod's disruption budget.")
        );
        assert_eq!(
            error.details.unwrap()["causes"][0]["message"],
            "The disruption budget b needs 2 healthy pods and has 2 currently"
        );
        let mut behind = budget(1, 3, 2);
        behind["metadata"]["generation"] = 2.into();
        assert_eq!(decrement(&mut behind, "p").unwrap_err().details.unwrap()["retryAfterSeconds"], 10);
    }
}
