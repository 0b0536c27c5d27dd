//! The smallest strategic merge patch from the status the API has to the one it should have.

use orlop_api::typed::Typed;
use serde_json::{Map, Value, json};

use crate::corev1::{Pod, PodStatus};

/// Lists that merge by key (`patchMergeKey` in `k8s.io/api/core/v1`); all others are replaced whole.
const MERGED: [(&str, &str); 3] = [("conditions", "type"), ("podIPs", "ip"), ("hostIPs", "ip")];

/// A status as it goes on the wire. Encoding lives with the typed kinds, so a pod carries it there.
pub fn to_value(status: &PodStatus) -> Value {
    let pod = Pod { status: Some(status.clone()), ..Pod::default() };
    let mut value: Value = serde_json::from_slice(&Typed::encode(&pod)).unwrap_or_default();
    without_nulls(&mut value["status"]);
    value["status"].take()
}

/// `None` when nothing differs. The uid makes sure that a namesake is not written to.
pub fn status_patch(uid: &str, old: &Value, new: &Value) -> Option<Value> {
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let mut patch = Map::new();
    for (field, value) in new {
        let before = old.get(field);
        if before == Some(value) {
            continue;
        }
        match MERGED.iter().find(|(name, _)| name == field) {
            Some((_, key)) => merged_list(field, key, before, value, &mut patch),
            None => {
                patch.insert(field.clone(), changed(before, value));
            }
        }
    }
    for field in old.keys().filter(|field| !new.contains_key(*field)) {
        patch.insert(field.clone(), Value::Null);
    }
    (!patch.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": patch}))
}

/// Maps merge, so what left them must be named.
fn changed(old: Option<&Value>, new: &Value) -> Value {
    let (Some(Value::Object(old)), Value::Object(new)) = (old, new) else { return new.clone() };
    let mut patch = Map::new();
    for (key, value) in new.iter().filter(|(key, value)| old.get(*key) != Some(value)) {
        patch.insert(key.clone(), changed(old.get(key), value));
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

fn merged_list(field: &str, key: &str, old: Option<&Value>, new: &Value, patch: &mut Map<String, Value>) {
    let none = Vec::new();
    let old = old.and_then(Value::as_array).unwrap_or(&none);
    let new = new.as_array().unwrap_or(&none);
    let same = |a: &Value, b: &Value| a[key] == b[key];
    let mut items = Vec::new();
    for item in new {
        match old.iter().find(|o| same(o, item)) {
            Some(before) if before == item => {}
            Some(before) => {
                let mut item = changed(Some(before), item);
                item[key] = before[key].clone();
                items.push(item);
            }
            None => items.push(item.clone()),
        }
    }
    let gone = old.iter().filter(|o| !new.iter().any(|n| same(n, o)));
    items.extend(gone.map(|o| json!({"$patch": "delete", key: o[key]})));
    if items.is_empty() && old.len() == new.len() {
        return; // Another order alone is not worth a write.
    }
    let order: Vec<Value> = new.iter().map(|n| json!({key: n[key]})).collect();
    patch.insert(format!("$setElementOrder/{field}"), Value::Array(order));
    patch.insert(field.to_owned(), Value::Array(items));
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_sent() {
        let old = json!({
            "phase": "Pending", "qosClass": "BestEffort", "reason": "x",
            "conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "False", "message": "m"}],
            "podIPs": [{"ip": "10.0.0.1"}],
            "allocatedResources": {"cpu": "1", "memory": "1Gi"},
            "containerStatuses": [{"name": "a", "ready": false}],
        });
        let new = json!({
            "phase": "Running", "qosClass": "BestEffort",
            "conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}, {"type": "C", "status": "True"}],
            "podIPs": [{"ip": "10.0.0.2"}],
            "allocatedResources": {"cpu": "2"},
            "containerStatuses": [{"name": "a", "ready": true}],
        });
        let patch = status_patch("u", &old, &new).expect("a patch");
        assert_eq!(
            patch,
            json!({"metadata": {"uid": "u"}, "status": {
                "phase": "Running", "reason": null,
                "$setElementOrder/conditions": [{"type": "A"}, {"type": "B"}, {"type": "C"}],
                "conditions": [{"type": "B", "status": "True", "message": null}, {"type": "C", "status": "True"}],
                "$setElementOrder/podIPs": [{"ip": "10.0.0.2"}],
                "podIPs": [{"ip": "10.0.0.2"}, {"$patch": "delete", "ip": "10.0.0.1"}],
                "allocatedResources": {"cpu": "2", "memory": null},
                "containerStatuses": [{"name": "a", "ready": true}],
            }})
        );
        assert_eq!(status_patch("u", &new, &new), None);
    }
}
