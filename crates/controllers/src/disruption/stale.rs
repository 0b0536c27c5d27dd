//! A pod that was to be disrupted and has not been after two minutes says so no longer.

use jiff::Timestamp;
use orlop_api::typed::k8s_openapi::api::core::v1::PodCondition;
use orlop_api::typed::kinds::Pod;
use orlop_client::engine::{Controller, Key, Plan, Source, View, Write};
use serde_json::json;

use super::{DELETION_TIMEOUT, NAME, grants};
use crate::common::pods::{condition, is_finished};

pub fn controller() -> Controller {
    let sources = vec![Source::subject::<Pod>()];
    let mut controller = Controller::new(NAME, "stale_pod_disruption", sources, grants(), decide);
    controller.event_source = "controllermanager";
    controller
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let Some((pod, condition)) = view.subject::<Pod>(key).and_then(|pod| Some((pod, disrupted(pod)?))) else {
        return Plan::none();
    };
    let since = condition.last_transition_time.as_ref().map_or(now, |t| t.0);
    let due = since.checked_add(DELETION_TIMEOUT).unwrap_or(Timestamp::MAX);
    if due > now {
        return Plan::wake_at(due);
    }
    let mut plan = Plan::none();
    let over = json!({"type": "DisruptionTarget", "status": "False", "reason": null, "message": null,
        "lastTransitionTime": orlop_base::clock::format_seconds(now.as_second())});
    plan.write(Write::patch(&**pod, "status", json!({"status": {"conditions": [over]}})).gone_is_fine());
    plan
}

/// The condition, where it may be stale: the kubelet's own stays as long as stopping the pod takes.
fn disrupted(pod: &Pod) -> Option<&PodCondition> {
    let condition = condition(pod.status.as_ref(), "DisruptionTarget").filter(|c| c.status == "True")?;
    let stays = pod.metadata.deletion_timestamp.is_none() && !is_finished(pod);
    (stays && condition.reason.as_deref() != Some("TerminationByKubelet")).then_some(condition)
}
