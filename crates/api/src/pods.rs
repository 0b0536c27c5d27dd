//! What everybody asks of typed Pods and Nodes.

use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};

/// The node a pod is bound to, if any.
pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// Has run to its end: phase Succeeded or Failed.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// Condition Ready is True.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// Condition Ready is True.
pub fn node_is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// `v1.Toleration.ToleratesTaint`: empty effect and key match all, the operator defaults to Equal.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let empty_or = |given: &Option<String>, wanted: &str| given.as_deref().is_none_or(|g| g.is_empty() || g == wanted);
    let value = match toleration.operator.as_deref() {
        None | Some("" | "Equal") => toleration.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or(""),
        Some("Exists") => true,
        Some(_) => false,
    };
    empty_or(&toleration.effect, &taint.effect) && empty_or(&toleration.key, &taint.key) && value
}
