//! The status of a pod as the API server makes and keeps it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::qos;
use crate::kinds::prepare::{list_mut, now};
use crate::kinds::read::Read;

/// `Pending`, its QoS class, and whether scheduling waits for gates (KEP 3521).
pub fn of_new_pod(pod: &Value) -> Value {
    let mut status = json!({ "phase": "Pending", "qosClass": qos::class(pod) });
    if !pod.list("spec.schedulingGates").is_empty() {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "lastProbeTime": null, "lastTransitionTime": now(),
            "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    status
}

/// Fields of the status that old clients do not know and would drop.
const KEPT_WHEN_ABSENT: [&str; 5] = [
    "status.qosClass",
    "status.resourceClaimStatuses",
    "status.extendedResourceClaimStatus",
    "status.nodeAllocatableResourceClaimStatuses",
    "status.observedGeneration",
];

/// Before an update through `status`: deletion and owners are not the node's to change.
pub fn prepare_update(obj: &mut Value, old: &Value) {
    for path in ["spec", "metadata.deletionTimestamp", "metadata.ownerReferences"] {
        crate::kind::keep_old_at(obj, old, path);
    }
    if !obj["status"].is_object() {
        return;
    }
    for path in KEPT_WHEN_ABSENT {
        let absent = obj.at(path);
        if absent.is_null() || absent == "" || absent == 0 {
            crate::kind::keep_old_at(obj, old, path);
        }
    }
    keep_observed_generations(obj, old);
}

/// Conditions written without `observedGeneration` keep what the condition of that type had, in order.
fn keep_observed_generations(obj: &mut Value, old: &Value) {
    let mut observed: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for condition in old.list("status.conditions").iter().rev() {
        observed.entry(condition.text("type")).or_default().push(&condition["observedGeneration"]);
    }
    for condition in list_mut(obj, "status.conditions") {
        let was = observed.get_mut(condition.text("type")).and_then(Vec::pop).filter(|was| was.as_i64() != Some(0));
        if let (0, Some(was), Value::Object(condition)) = (condition.int("observedGeneration"), was, condition)
            && !was.is_null()
        {
            condition.insert("observedGeneration".into(), was.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_clients_drop_nothing() {
        let old = json!({
            "metadata": { "name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "nodeName": "n" },
            "status": { "qosClass": "Burstable", "observedGeneration": 3,
                "conditions": [{ "type": "Ready", "status": "False", "observedGeneration": 2 }] },
        });
        let mut obj = json!({
            "metadata": { "name": "a", "labels": { "x": "y" } },
            "spec": { "nodeName": "other" },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }, { "type": "Mine" }] },
        });
        prepare_update(&mut obj, &old);
        assert_eq!(
            obj,
            json!({
                "metadata": { "name": "a", "labels": { "x": "y" }, "deletionTimestamp": "2026-01-01T00:00:00Z" },
                "spec": { "nodeName": "n" },
                "status": { "phase": "Running", "qosClass": "Burstable", "observedGeneration": 3, "conditions": [
                    { "type": "Ready", "status": "True", "observedGeneration": 2 }, { "type": "Mine" }] },
            })
        );
    }
}
