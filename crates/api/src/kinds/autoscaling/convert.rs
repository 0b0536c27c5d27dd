//! HorizontalPodAutoscaler between `autoscaling/v1` and `/v2`.
//!
//! v1 knows one target, CPU utilization. What else a v2 object says travels in annotations, as
//! `k8s.io/kubernetes/pkg/apis/autoscaling/v1/conversion.go` writes and reads them.

use serde_json::{Map, Value, json};

use super::annotations::{BEHAVIOR, CONDITIONS, CURRENT_METRICS, METRICS, ROUND_TRIP, behavior_to_v1, go_json};
use crate::kinds::prepare::{remove, set, set_in};
use crate::kinds::read::{Read, annotation};

/// Percent of requested CPU, where v1 named no target.
const DEFAULT_CPU_UTILIZATION: i64 = 80;

/// A metric source (or its status): its JSON name, and where each v1 field stands in v2.
type Source = (&'static str, &'static [(&'static str, &'static str)]);

const SPEC: [Source; 5] = [
    (
        "resource",
        &[
            ("name", "name"),
            ("targetAverageUtilization", "target.averageUtilization"),
            ("targetAverageValue", "target.averageValue"),
        ],
    ),
    (
        "containerResource",
        &[
            ("name", "name"),
            ("container", "container"),
            ("targetAverageUtilization", "target.averageUtilization"),
            ("targetAverageValue", "target.averageValue"),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", "metric.name"),
            ("selector", "metric.selector"),
            ("targetAverageValue", "target.averageValue"),
        ],
    ),
    (
        "object",
        &[
            ("target", "describedObject"),
            ("metricName", "metric.name"),
            ("selector", "metric.selector"),
            ("targetValue", "target.value"),
            ("averageValue", "target.averageValue"),
        ],
    ),
    (
        "external",
        &[
            ("metricName", "metric.name"),
            ("metricSelector", "metric.selector"),
            ("targetValue", "target.value"),
            ("targetAverageValue", "target.averageValue"),
        ],
    ),
];

const STATUS: [Source; 5] = [
    (
        "resource",
        &[
            ("name", "name"),
            ("currentAverageUtilization", "current.averageUtilization"),
            ("currentAverageValue", "current.averageValue"),
        ],
    ),
    (
        "containerResource",
        &[
            ("name", "name"),
            ("container", "container"),
            ("currentAverageUtilization", "current.averageUtilization"),
            ("currentAverageValue", "current.averageValue"),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", "metric.name"),
            ("selector", "metric.selector"),
            ("currentAverageValue", "current.averageValue"),
        ],
    ),
    (
        "object",
        &[
            ("target", "describedObject"),
            ("metricName", "metric.name"),
            ("selector", "metric.selector"),
            ("currentValue", "current.value"),
            ("averageValue", "current.averageValue"),
        ],
    ),
    (
        "external",
        &[
            ("metricName", "metric.name"),
            ("metricSelector", "metric.selector"),
            ("currentValue", "current.value"),
            ("currentAverageValue", "current.averageValue"),
        ],
    ),
];

/// Quantities v1 cannot leave out: source and field.
const REQUIRED_IN_V1: [(&str, &str); 6] = [
    ("object", "targetValue"),
    ("pods", "targetAverageValue"),
    ("object", "currentValue"),
    ("external", "currentValue"),
    ("pods", "currentAverageValue"),
    ("resource", "currentAverageValue"),
];

pub fn to_v1(hpa: &mut Value) {
    drop_round_trip_annotations(hpa);
    let metrics = hpa.list("spec.metrics").to_vec();
    let statuses = hpa.list("status.currentMetrics").to_vec();
    let behavior = hpa.at("spec.behavior").clone();
    let conditions = hpa.at("status.conditions").clone();
    for path in ["spec.metrics", "spec.behavior", "status.currentMetrics", "status.conditions"] {
        remove(hpa, path);
    }
    if let Some(cpu) = metrics.iter().find(|metric| is_cpu_utilization(metric)) {
        set(hpa, "spec.targetCPUUtilizationPercentage", cpu.at("resource.target.averageUtilization").clone());
    }
    let of_cpu = |status: &&Value| is_cpu(status) && status.has("resource.current.averageUtilization");
    if let Some(cpu) = statuses.iter().rfind(of_cpu) {
        set(hpa, "status.currentCPUUtilizationPercentage", cpu.at("resource.current.averageUtilization").clone());
    }
    let others: Vec<Value> =
        metrics.iter().filter(|metric| !is_cpu_utilization(metric)).map(|metric| metric_to_v1(metric, &SPEC)).collect();
    annotate(hpa, METRICS, &others.into());
    annotate(hpa, CURRENT_METRICS, &statuses.iter().map(|status| metric_to_v1(status, &STATUS)).collect());
    annotate(hpa, BEHAVIOR, &behavior_to_v1(&rename_keys(&behavior, char::to_ascii_uppercase)));
    annotate(hpa, CONDITIONS, &conditions);
    if hpa.at("status.currentReplicas").is_null() {
        set(hpa, "status.currentReplicas", 0);
    }
    set(hpa, "apiVersion", "autoscaling/v1");
}

/// A v1 object that names no metric at all has a target.
pub fn default_target(hpa: &mut Value) {
    let others = annotated(hpa, METRICS).as_array().is_some_and(|metrics| !metrics.is_empty());
    if !others && !hpa.has("spec.targetCPUUtilizationPercentage") {
        set(hpa, "spec.targetCPUUtilizationPercentage", DEFAULT_CPU_UTILIZATION);
    }
}

pub fn to_v2(hpa: &mut Value) {
    let mut metrics: Vec<Value> =
        annotated(hpa, METRICS).as_array().into_iter().flatten().map(|metric| metric_to_v2(metric, &SPEC)).collect();
    let target = hpa.at("spec.targetCPUUtilizationPercentage").clone();
    if !target.is_null() {
        metrics.push(cpu_utilization(target));
    } else if metrics.is_empty() {
        metrics.push(cpu_utilization(DEFAULT_CPU_UTILIZATION.into()));
    }
    let behavior = rename_keys(&annotated(hpa, BEHAVIOR), char::to_ascii_lowercase);
    let conditions = annotated(hpa, CONDITIONS);
    let statuses = match annotated(hpa, CURRENT_METRICS) {
        Value::Array(statuses) => statuses.iter().map(|status| metric_to_v2(status, &STATUS)).collect(),
        _ => cpu_status(hpa.at("status.currentCPUUtilizationPercentage")),
    };
    remove(hpa, "spec.targetCPUUtilizationPercentage");
    remove(hpa, "status.currentCPUUtilizationPercentage");
    set(hpa, "spec.metrics", metrics);
    for (path, value) in
        [("spec.behavior", behavior), ("status.currentMetrics", statuses), ("status.conditions", conditions)]
    {
        if value.as_object().is_some_and(|v| !v.is_empty()) || value.as_array().is_some_and(|v| !v.is_empty()) {
            set(hpa, path, value);
        }
    }
    drop_round_trip_annotations(hpa);
    set(hpa, "apiVersion", "autoscaling/v2");
}

fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric.text("resource.name") == "cpu"
}

fn is_cpu_utilization(metric: &Value) -> bool {
    is_cpu(metric) && metric.has("resource.target.averageUtilization")
}

fn cpu_utilization(percent: Value) -> Value {
    let target = json!({ "type": "Utilization", "averageUtilization": percent });
    json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } })
}

fn cpu_status(percent: &Value) -> Value {
    if percent.is_null() {
        return Value::Null;
    }
    json!([{ "type": "Resource", "resource": { "name": "cpu", "current": { "averageUtilization": percent } } }])
}

fn metric_to_v1(metric: &Value, sources: &[Source]) -> Value {
    let mut out = json!({ "type": metric["type"] });
    for (source, fields) in sources {
        let Some(v2) = metric.get(source).filter(|v2| v2.is_object()) else { continue };
        let mut v1 = Map::new();
        for (old, new) in *fields {
            if v2.has(new) {
                v1.insert((*old).to_owned(), v2.at(new).clone());
            } else if REQUIRED_IN_V1.contains(&(*source, *old)) {
                v1.insert((*old).to_owned(), "0".into());
            }
        }
        out[*source] = v1.into();
    }
    out
}

fn metric_to_v2(metric: &Value, sources: &[Source]) -> Value {
    let mut out = json!({ "type": metric["type"] });
    for (source, fields) in sources {
        let Some(v1) = metric.get(source).filter(|v1| v1.is_object()) else { continue };
        let mut v2 = json!({});
        for (old, new) in fields.iter().filter(|(old, _)| v1.has(old)) {
            set(&mut v2, new, v1[*old].clone());
        }
        if sources == SPEC {
            set_target_type(source, crate::meta::child_mut(&mut v2, "target"));
        }
        out[*source] = v2;
    }
    out
}

fn set_target_type(source: &str, target: &mut Map<String, Value>) {
    let ty = match source {
        "resource" | "containerResource" if target.contains_key("averageUtilization") => "Utilization",
        "object" if !target.contains_key("averageValue") => "Value",
        "external" if target.contains_key("value") => "Value",
        _ => "AverageValue",
    };
    // v1 cannot leave the value out and writes 0, which v2 would not accept beside an average.
    if source == "object" && ty == "AverageValue" && target.get("value").is_some_and(|v| v == "0" || v == 0) {
        target.remove("value");
    }
    target.insert("type".into(), ty.into());
}

/// The annotation holds upstream's internal type, which has capital letters.
fn rename_keys(value: &Value, case: fn(&char) -> char) -> Value {
    match value {
        Value::Object(fields) => {
            let rename = |key: &str| key.chars().take(1).map(|c| case(&c)).chain(key.chars().skip(1)).collect();
            fields
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (rename(key), rename_keys(value, case)))
                .collect::<Map<String, Value>>()
                .into()
        }
        Value::Array(items) => items.iter().map(|item| rename_keys(item, case)).collect(),
        other => other.clone(),
    }
}

fn annotate(hpa: &mut Value, key: &str, value: &Value) {
    let nothing = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    if !nothing {
        set_in(hpa, "metadata.annotations", key, go_json(value));
    }
}

fn annotated(hpa: &Value, key: &str) -> Value {
    serde_json::from_str(annotation(hpa, key)).unwrap_or_default()
}

/// v2 needs none of them, and takes none from clients.
pub fn drop_round_trip_annotations(hpa: &mut Value) {
    let Some(metadata) = hpa.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else { return };
    let before = annotations.len();
    annotations.retain(|key, _| !ROUND_TRIP.contains(&key.as_str()));
    if annotations.is_empty() && before > 0 {
        metadata.remove("annotations");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2() -> Value {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "a" },
            "spec": {
                "maxReplicas": 3,
                "metrics": [
                    { "type": "Object", "object": { "describedObject": { "kind": "Service", "name": "s" },
                        "metric": { "name": "hits" }, "target": { "type": "AverageValue", "averageValue": "1" } } },
                    { "type": "Pods", "pods": { "metric": { "name": "q", "selector": { "matchLabels": { "a": "b" } } },
                        "target": { "type": "AverageValue", "averageValue": "2k" } } },
                    { "type": "Resource", "resource": { "name": "cpu",
                        "target": { "type": "Utilization", "averageUtilization": 50 } } },
                ],
                "behavior": { "scaleDown": { "stabilizationWindowSeconds": 60,
                    "policies": [{ "type": "Pods", "value": 4, "periodSeconds": 60 }] } },
            },
            "status": {
                "currentReplicas": 1,
                "currentMetrics": [{ "type": "Resource", "resource": { "name": "cpu",
                    "current": { "averageUtilization": 7, "averageValue": "35m" } } }],
                "conditions": [{ "type": "AbleToScale", "status": "True" }],
            },
        })
    }

    #[test]
    fn v1_carries_all_of_v2() {
        let mut hpa = v2();
        to_v1(&mut hpa);
        assert_eq!(hpa["spec"], json!({ "maxReplicas": 3, "targetCPUUtilizationPercentage": 50 }));
        assert_eq!(hpa["status"], json!({ "currentReplicas": 1, "currentCPUUtilizationPercentage": 7 }));
        assert_eq!(
            hpa["metadata"]["annotations"][BEHAVIOR],
            r#"{"ScaleUp":null,"ScaleDown":{"StabilizationWindowSeconds":60,"SelectPolicy":null,"Policies":[{"Type":"Pods","Value":4,"PeriodSeconds":60}],"Tolerance":null}}"#
        );
        to_v2(&mut hpa);
        assert_eq!(hpa, v2());
    }

    #[test]
    fn v1_without_target_means_eighty_percent() {
        let mut hpa = json!({ "apiVersion": "autoscaling/v1", "spec": { "maxReplicas": 1 } });
        to_v2(&mut hpa);
        assert_eq!(hpa["spec"]["metrics"], json!([cpu_utilization(80.into())]));
    }
}
