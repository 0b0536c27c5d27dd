//! Conditions in an object's status.

use orlop_api::{Value, meta};
use orlop_base::clock;
use serde_json::json;

/// Sets one condition of `status.conditions` to true; its transition time moves only when it was not
/// (`podutil.UpdatePodCondition`).
pub fn set_true(object: &mut Value, kind: &str, reason: &str, message: &str) {
    let status = meta::child_mut(object, "status");
    let list = status.entry("conditions").or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    let Value::Array(list) = list else { return };
    let mut condition = json!({ "type": kind, "status": "True", "lastProbeTime": null });
    if !reason.is_empty() {
        condition["reason"] = reason.into();
    }
    if !message.is_empty() {
        condition["message"] = message.into();
    }
    let old = list.iter_mut().find(|c| c["type"] == kind);
    condition["lastTransitionTime"] = match &old {
        Some(old) if old["status"] == "True" => old["lastTransitionTime"].clone(),
        _ => clock::rfc3339().into(),
    };
    match old {
        Some(old) => {
            condition["lastProbeTime"] = old["lastProbeTime"].clone();
            *old = condition;
        }
        None => list.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transition_time_moves_once() {
        let mut pod = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
        set_true(&mut pod, "PodScheduled", "", "");
        let first = pod["status"]["conditions"][1].clone();
        assert_eq!((&first["type"], &first["status"]), (&json!("PodScheduled"), &json!("True")));
        pod["status"]["conditions"][1]["lastTransitionTime"] = "2020-01-01T00:00:00Z".into();
        set_true(&mut pod, "PodScheduled", "x", "");
        assert_eq!(pod["status"]["conditions"][1]["lastTransitionTime"], "2020-01-01T00:00:00Z");
        assert_eq!(pod["status"]["conditions"].as_array().unwrap().len(), 2);
    }
}
