//! The Targets column of HorizontalPodAutoscalers: each metric's current and wanted value.

use serde_json::Value;

use crate::kinds::read::Read;
use crate::table::quantity;

/// Metrics shown before "more".
const SHOWN: usize = 2;

/// `cpu: 7%/50%, 3/2k (avg) + 1 more...`
pub fn targets(hpa: &Value) -> String {
    let (specs, statuses) = (hpa.list("spec.metrics"), hpa.list("status.currentMetrics"));
    if specs.is_empty() {
        return "<none>".to_owned();
    }
    let status = |i: usize| statuses.get(i).unwrap_or(&Value::Null);
    let shown: Vec<String> = specs.iter().take(SHOWN).enumerate().map(|(i, spec)| metric(spec, status(i))).collect();
    let shown = shown.join(", ");
    if specs.len() > SHOWN { format!("{shown} + {} more...", specs.len() - SHOWN) } else { shown }
}

fn metric(spec: &Value, status: &Value) -> String {
    match spec.text("type") {
        "External" => custom(spec.at("external"), status.at("external")),
        "Object" => custom(spec.at("object"), status.at("object")),
        "Pods" => {
            let (spec, status) = (spec.at("pods"), status.at("pods"));
            format!("{}/{}", current(status, "averageValue"), quantity(spec.at("target.averageValue")))
        }
        "Resource" => resource(spec.at("resource"), status.at("resource")),
        "ContainerResource" => resource(spec.at("containerResource"), status.at("containerResource")),
        _ => "<unknown type>".to_owned(),
    }
}

fn custom(spec: &Value, status: &Value) -> String {
    if !spec.has("target.averageValue") {
        return format!("{}/{}", current(status, "value"), quantity(spec.at("target.value")));
    }
    let status = if status.has("current.averageValue") { status } else { &Value::Null };
    format!("{}/{} (avg)", current(status, "averageValue"), quantity(spec.at("target.averageValue")))
}

fn resource(spec: &Value, status: &Value) -> String {
    let name = spec.text("name");
    if spec.has("target.averageValue") {
        return format!("{name}: {}/{}", current(status, "averageValue"), quantity(spec.at("target.averageValue")));
    }
    let percent = |value: &Value, unknown: &str| value.as_i64().map_or_else(|| unknown.to_owned(), |n| format!("{n}%"));
    let now = percent(status.at("current.averageUtilization"), "<unknown>");
    format!("{name}: {now}/{}", percent(spec.at("target.averageUtilization"), "<auto>"))
}

/// What a status reports; upstream prints a missing number of a reported status as zero.
fn current(status: &Value, field: &str) -> String {
    match status {
        Value::Null => "<unknown>".to_owned(),
        _ => quantity(&status["current"][field]).into_owned(),
    }
}
