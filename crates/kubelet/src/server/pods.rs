//! `/pods`, `/runningpods/`, `/configz`: what the node has, as objects.

use http::Response;
use orlop_api::typed::Typed;
use orlop_client::transport::Body;
use serde_json::{Value, json};

use super::reply;
use crate::context::Context;
use crate::names;

/// Every pod of this node with its newest status.
pub fn pods(context: &Context) -> Response<Body> {
    let items: Vec<Value> = context
        .pods
        .all()
        .iter()
        .map(|handle| {
            let mut object = (*handle.wish().pod.object).clone();
            object.status = Some((*handle.status()).clone());
            serde_json::from_slice(&Typed::encode(&object)).unwrap_or_default()
        })
        .collect();
    list(items)
}

/// Pods as the runtime knows them.
pub fn running(context: &Context) -> Response<Body> {
    let views = context.observed.all();
    let items = views.into_iter().filter(|(_, view)| view.has_running()).map(|(uid, view)| {
        let labels = view.sandboxes.first().map(|s| (s.pod_name.clone(), s.pod_namespace.clone()));
        let (name, namespace) = labels.unwrap_or_else(|| {
            let label = |key: &str| view.containers.first().and_then(|c| c.runtime.labels.get(key)).cloned();
            (label(names::POD_NAME).unwrap_or_default(), label(names::POD_NAMESPACE).unwrap_or_default())
        });
        let containers: Vec<Value> =
            view.running().map(|c| json!({"name": c.name(), "image": c.runtime.image, "resources": {}})).collect();
        json!({
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "spec": {"containers": containers}, "status": {},
        })
    });
    list(items.collect())
}

fn list(items: Vec<Value>) -> Response<Body> {
    reply::json(&json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
}

/// The configuration in upstream's field names, as far as it has them.
pub fn configz(context: &Context) -> Response<Body> {
    let config = &context.config;
    reply::json(&json!({"kubeletconfig": {
        "address": config.server.address.ip().to_string(),
        "port": config.server.address.port(),
        "staticPodPath": config.pod_manifest_dir.as_ref().map(|d| d.display().to_string()),
        "clusterDomain": config.cluster_domain,
        "clusterDNS": config.cluster_dns.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "resolvConf": config.resolv_conf.display().to_string(),
        "maxPods": config.max_pods,
        "podPidsLimit": config.pod_pids_limit.unwrap_or(-1),
        "nodeLeaseDurationSeconds": config.lease_duration_seconds,
        "evictionHard": config.eviction.hard,
        "evictionPressureTransitionPeriod": format!("{}s", config.eviction.pressure_transition_seconds),
        "imageGCHighThresholdPercent": config.image_gc.high_percent,
        "imageGCLowThresholdPercent": config.image_gc.low_percent,
        "containerLogMaxSize": format!("{}", config.logs.max_bytes),
        "containerLogMaxFiles": config.logs.max_files,
        "allowedUnsafeSysctls": config.allowed_unsafe_sysctls,
        "podLogsDir": config.dirs.pod_logs.display().to_string(),
    }}))
}
