//! What may I do: SelfSubjectRulesReview.

use orlop_api::Value;
use orlop_api::status::StatusError;
use serde_json::json;

use super::{Reviews, with_status};
use crate::authz::rbac::aggregate;
use crate::authz::rule::Rule;
use crate::call::Call;

pub async fn own(reviews: &Reviews, call: &Call, review: Value) -> Result<Value, StatusError> {
    let namespace = review["spec"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(StatusError::bad_request("no namespace on request"));
    }
    let listing = reviews.authorization.rules_for(&call.user, namespace);
    let on = |of: fn(&Rule) -> &Vec<String>| {
        let rules = listing.rules.iter().filter(move |rule| !of(rule).is_empty());
        rules.map(Rule::to_value).collect::<Vec<Value>>()
    };
    let mut status = json!({
        "resourceRules": on(|rule| &rule.resources),
        "nonResourceRules": on(|rule| &rule.urls),
        "incomplete": listing.incomplete,
    });
    if !listing.errors.is_empty() {
        status["evaluationError"] = aggregate(&listing.errors).into();
    }
    // Upstream answers with an empty spec.
    let answer = json!({
        "apiVersion": review["apiVersion"], "kind": review["kind"], "metadata": {}, "spec": {},
    });
    Ok(with_status(answer, status))
}
