//! `matchLabelKeys` and `mismatchLabelKeys` become selector terms when a pod is created.
//!
//! KEP 3633 (pod affinity) and KEP 3243 (topology spread).

use serde_json::{Map, Value, json};

use crate::kinds::prepare::list_mut;
use crate::kinds::read::Read;

/// Adds the pod's own values of the named labels to its affinity and spread selectors.
pub fn select_by_own_labels(pod: &mut Value) {
    let labels = pod.map("metadata.labels").clone();
    for affinity in ["spec.affinity.podAffinity", "spec.affinity.podAntiAffinity"] {
        for term in list_mut(pod, &format!("{affinity}.requiredDuringSchedulingIgnoredDuringExecution")) {
            extend_term(term, &labels);
        }
        for weighted in list_mut(pod, &format!("{affinity}.preferredDuringSchedulingIgnoredDuringExecution")) {
            if let Some(term) = weighted.get_mut("podAffinityTerm") {
                extend_term(term, &labels);
            }
        }
    }
    for constraint in list_mut(pod, "spec.topologySpreadConstraints") {
        extend(constraint, "matchLabelKeys", "In", &labels);
    }
}

fn extend_term(term: &mut Value, labels: &Map<String, Value>) {
    extend(term, "matchLabelKeys", "In", labels);
    extend(term, "mismatchLabelKeys", "NotIn", labels);
}

fn extend(term: &mut Value, keys: &str, operator: &str, labels: &Map<String, Value>) {
    let added: Vec<Value> = term
        .list(keys)
        .iter()
        .filter_map(|key| Some((key, labels.get(key.as_str()?)?)))
        .map(|(key, value)| json!({ "key": key, "operator": operator, "values": [value] }))
        .collect();
    let Some(selector) = term.get_mut("labelSelector").and_then(Value::as_object_mut) else { return };
    if added.is_empty() {
        return;
    }
    match selector.get_mut("matchExpressions").and_then(Value::as_array_mut) {
        Some(expressions) => expressions.extend(added),
        None => {
            selector.insert("matchExpressions".into(), added.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_labels_become_terms() {
        let mut pod = json!({
            "metadata": { "labels": { "app": "web", "pod-template-hash": "1" } },
            "spec": {
                "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [
                    { "weight": 1, "podAffinityTerm": {
                        "labelSelector": {}, "matchLabelKeys": ["app", "absent"], "mismatchLabelKeys": ["pod-template-hash"] } },
                ] } },
                "topologySpreadConstraints": [
                    { "labelSelector": { "matchExpressions": [] }, "matchLabelKeys": ["app"] },
                    { "matchLabelKeys": ["app"] },
                ],
            },
        });
        select_by_own_labels(&mut pod);
        let term = &pod["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"];
        assert_eq!(
            term["labelSelector"]["matchExpressions"],
            json!([
                { "key": "app", "operator": "In", "values": ["web"] },
                { "key": "pod-template-hash", "operator": "NotIn", "values": ["1"] },
            ])
        );
        let spread = &pod["spec"]["topologySpreadConstraints"];
        assert_eq!(spread[0]["labelSelector"]["matchExpressions"].as_array().map(Vec::len), Some(1));
        assert_eq!(spread[1], json!({ "matchLabelKeys": ["app"] }));
    }
}
