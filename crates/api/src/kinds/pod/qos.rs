//! The quality-of-service class of a pod: `k8s.io/kubernetes/pkg/apis/core/helper/qos`.

use serde_json::Value;

use crate::kinds::read::Read;

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

/// Absent and zero are one.
fn amount<'a>(resources: &'a Value, list: &str, name: &str) -> Option<&'a Value> {
    resources.get(list)?.get(name).filter(|amount| **amount != "0" && **amount != 0)
}
