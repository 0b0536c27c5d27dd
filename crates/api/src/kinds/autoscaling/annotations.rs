//! The annotations in which a v2 HorizontalPodAutoscaler travels through `autoscaling/v1`, to the letter: who owns an
//! annotation loses it to whoever writes another text.

use serde_json::{Value, json};

pub const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
pub const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
pub const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
pub const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
pub const ROUND_TRIP: [&str; 6] = [
    METRICS,
    CURRENT_METRICS,
    CONDITIONS,
    BEHAVIOR,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];

/// The fields of all types in them, such that those of each stand in the order of its Go struct.
const ORDER: [&str; 36] = [
    "type",
    "status",
    "lastTransitionTime",
    "reason",
    "message",
    "object",
    "pods",
    "resource",
    "containerResource",
    "external",
    "kind",
    "target",
    "metricName",
    "name",
    "apiVersion",
    "metricSelector",
    "targetAverageUtilization",
    "currentAverageUtilization",
    "targetValue",
    "currentValue",
    "targetAverageValue",
    "currentAverageValue",
    "container",
    "selector",
    "averageValue",
    "matchLabels",
    "matchExpressions",
    "ScaleUp",
    "ScaleDown",
    "StabilizationWindowSeconds",
    "SelectPolicy",
    "Policies",
    "Tolerance",
    "Type",
    "Value",
    "PeriodSeconds",
];

/// Upstream writes its internal type, with all that is not said.
pub fn behavior_to_v1(behavior: &Value) -> Value {
    if behavior.is_null() {
        return Value::Null;
    }
    let rules = |direction: &str| match &behavior[direction] {
        Value::Null => Value::Null,
        rules => json!({
            "StabilizationWindowSeconds": rules["StabilizationWindowSeconds"],
            "SelectPolicy": rules["SelectPolicy"],
            "Policies": rules["Policies"],
            "Tolerance": rules["Tolerance"],
        }),
    };
    json!({ "ScaleUp": rules("ScaleUp"), "ScaleDown": rules("ScaleDown") })
}

/// As Go writes it.
pub fn go_json(value: &Value) -> String {
    let list = |parts: Vec<String>| parts.join(",");
    match value {
        Value::Array(items) => format!("[{}]", list(items.iter().map(go_json).collect())),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            // What is no field of a struct, and stands behind them, is a key of a map, and those stand in order.
            fields.sort_by_key(|(name, _)| ORDER.iter().position(|field| field == name).unwrap_or(ORDER.len()));
            let field = |(name, value): (&String, &Value)| match name.as_str() {
                "matchLabels" => format!("\"matchLabels\":{value}"),
                _ => format!("{}:{}", Value::from(name.as_str()), go_json(value)),
            };
            format!("{{{}}}", list(fields.into_iter().map(field).collect()))
        }
        leaf => leaf.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_as_in_gos_structs() {
        let metrics = json!([{ "pods": { "targetAverageValue": "5", "selector": { "matchLabels": { "type": "b", "a": "c" } }, "metricName": "m" }, "type": "Pods" }]);
        let want = r#"[{"type":"Pods","pods":{"metricName":"m","targetAverageValue":"5","selector":{"matchLabels":{"a":"c","type":"b"}}}}]"#;
        assert_eq!(go_json(&metrics), want);
        let behavior = json!({ "ScaleUp": { "Policies": [{ "PeriodSeconds": 60, "Type": "Pods", "Value": 4 }] } });
        let want = r#"{"ScaleUp":{"StabilizationWindowSeconds":null,"SelectPolicy":null,"Policies":[{"Type":"Pods","Value":4,"PeriodSeconds":60}],"Tolerance":null},"ScaleDown":null}"#;
        assert_eq!(go_json(&behavior_to_v1(&behavior)), want);
    }
}
