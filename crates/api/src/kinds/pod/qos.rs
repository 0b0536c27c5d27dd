//! The quality-of-service class of a pod: `k8s.io/kubernetes/pkg/apis/core/helper/qos`.

use serde_json::Value;

use crate::kinds::read::Read;
use crate::quantity::Quantity;

/// Resources that count.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`; by pod-level resources where there are any.
pub fn class(pod: &Value) -> &'static str {
    let pod_level = pod.at("spec.resources");
    if !pod.map("spec.resources.requests").is_empty() || !pod.map("spec.resources.limits").is_empty() {
        return of_resources(pod_level);
    }
    let containers = pod.list("spec.initContainers").iter().chain(pod.list("spec.containers"));
    agree(containers.map(|container| of_resources(container.at("resources")))).unwrap_or("BestEffort")
}

fn of_resources(resources: &Value) -> &'static str {
    let of = |name: &str| {
        let (request, limit) = (amount(resources, "requests", name), amount(resources, "limits", name));
        match (request == limit, request.is_none()) {
            (false, _) => "Burstable",
            (true, true) => "BestEffort",
            (true, false) => "Guaranteed",
        }
    };
    agree(COUNTED.into_iter().map(of)).unwrap_or("BestEffort")
}

/// The one class all have, `Burstable` when they differ, none when there are none.
fn agree(mut classes: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let first = classes.next()?;
    Some(if classes.all(|class| class == first) { first } else { "Burstable" })
}

/// Absent and zero are one; what cannot be read counts as zero, validation rejects it.
fn amount(resources: &Value, list: &str, name: &str) -> Option<Quantity> {
    let amount = resources.get(list)?.get(name)?;
    let parsed = match amount {
        Value::String(text) => text.parse(),
        other => other.to_string().parse(),
    };
    parsed.ok().filter(|amount: &Quantity| !amount.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes() {
        let full =
            json!({ "requests": { "cpu": "1", "memory": "1Gi" }, "limits": { "cpu": "1000m", "memory": "1Gi" } });
        let some = json!({ "requests": { "cpu": "1" } });
        let disk = json!({ "limits": { "ephemeral-storage": "1Gi" } });
        for (containers, pod_level, expected) in [
            (vec![], json!({}), "BestEffort"),
            (vec![json!({})], json!({}), "BestEffort"),
            (vec![disk.clone()], json!({}), "BestEffort"),
            (vec![full.clone()], json!({}), "Guaranteed"),
            (vec![full.clone(), full.clone()], json!({}), "Guaranteed"),
            (vec![full.clone(), json!({})], json!({}), "Burstable"),
            (vec![some.clone()], json!({}), "Burstable"),
            (vec![some], full, "Guaranteed"),
        ] {
            let containers: Vec<Value> = containers.iter().map(|r| json!({ "resources": r })).collect();
            let pod = json!({ "spec": { "containers": containers, "resources": pod_level } });
            assert_eq!(class(&pod), expected, "{pod}");
        }
    }
}
