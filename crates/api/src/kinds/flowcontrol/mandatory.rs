//! The objects without which nobody could be served: their specs are fixed
//! (`k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap/default.go`).

use serde_json::{Value, json};

/// The spec that a FlowSchema of this name must have.
pub fn schema(name: &str) -> Option<Value> {
    let (precedence, groups): (u32, &[&str]) = match name {
        "exempt" => (1, &["system:masters"]),
        "catch-all" => (10000, &["system:unauthenticated", "system:authenticated"]),
        _ => return None,
    };
    let subjects: Value = groups.iter().map(|name| json!({"kind": "Group", "group": {"name": name}})).collect();
    let resources =
        json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]});
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": name}, "matchingPrecedence": precedence,
        "rules": [{
            "subjects": subjects, "resourceRules": [resources],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }],
    });
    if name == "catch-all" {
        spec["distinguisherMethod"] = json!({"type": "ByUser"});
    }
    Some(spec)
}

/// The spec that a PriorityLevelConfiguration of this name must have.
pub fn level(name: &str) -> Option<Value> {
    match name {
        "exempt" => Some(json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}})),
        "catch-all" => Some(json!({"type": "Limited", "limited": {
            "nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"},
        }})),
        _ => None,
    }
}
