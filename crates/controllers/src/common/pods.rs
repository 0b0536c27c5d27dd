//! Questions about pods that upstream's controllers ask alike (`pkg/api/v1/pod`, `controller_utils.go`).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
pub use orlop_api::pods::{is_finished, is_ready, node_name};
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::{PodCondition, PodStatus, PodTemplateSpec};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_api::typed::kinds::Pod;
use orlop_client::cache::Index;
use orlop_client::engine::View;

use super::owners::controller_reference;

/// Files pods under the node they are bound to.
pub const BY_NODE: Index<Pod> =
    Index { name: "node", values: |pod| node_name(pod).map(str::to_owned).into_iter().collect() };

/// The pods bound to a node. Pods must be indexed [`BY_NODE`].
pub fn on_node<'a>(view: &'a View, node: &str) -> impl Iterator<Item = &'a Arc<Pod>> + use<'a> {
    view.of::<Pod>().indexed(BY_NODE.name, node)
}

pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// Counts towards what a controller wants.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Asked to go, not yet gone.
pub fn is_terminating(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_some()
}

pub fn condition<'a>(status: Option<&'a PodStatus>, kind: &str) -> Option<&'a PodCondition> {
    status?.conditions.as_ref()?.iter().find(|c| c.type_ == kind)
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    condition(pod.status.as_ref(), "Ready").filter(|c| c.status == "True")
}

/// Since when it has been ready; `None` when it is not, or nobody noted.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod)?.last_transition_time.as_ref().map(|t| t.0)
}

/// When a ready pod becomes available: ready for `min_ready_seconds`. `None` when it is not ready,
/// or it is unknown since when.
pub fn available_at(pod: &Pod, min_ready_seconds: i32) -> Option<Timestamp> {
    ready_since(pod)?.checked_add(SignedDuration::from_secs(min_ready_seconds.into())).ok()
}

pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    is_ready(pod) && (min_ready_seconds == 0 || available_at(pod, min_ready_seconds).is_some_and(|at| at <= now))
}

/// Most restarts of any container: regular ones, and init containers that stay (sidecars).
pub fn max_restarts(pod: &Pod) -> (i32, i32) {
    let Some(status) = &pod.status else { return (0, 0) };
    let regular = status.container_statuses.iter().flatten().map(|c| c.restart_count).max().unwrap_or(0);
    let init_containers = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten());
    let sidecars: Vec<&str> =
        init_containers.filter(|c| c.restart_policy.as_deref() == Some("Always")).map(|c| c.name.as_str()).collect();
    let staying = status.init_container_statuses.iter().flatten().filter(|c| sidecars.contains(&c.name.as_str()));
    (regular, staying.map(|c| c.restart_count).max().unwrap_or(0))
}

/// A pod of `template` that `owner` controls, yet without a name (`controller.GetPodFromTemplate`).
pub fn from_template<O: Typed>(owner: &O, template: &PodTemplateSpec) -> Pod {
    let made = template.metadata.clone().unwrap_or_default();
    let metadata = ObjectMeta {
        namespace: owner.meta().namespace.clone(),
        labels: made.labels,
        annotations: made.annotations,
        finalizers: made.finalizers,
        owner_references: Some(vec![controller_reference(owner)]),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: template.spec.clone(), status: None }
}

/// `controller.kubernetes.io/pod-deletion-cost`; what is no number costs nothing.
pub fn deletion_cost(pod: &Pod) -> i32 {
    let annotation = pod.meta().annotations.as_ref().and_then(|a| a.get("controller.kubernetes.io/pod-deletion-cost"));
    annotation.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}
