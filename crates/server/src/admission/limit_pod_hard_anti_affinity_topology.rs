//! Pods may keep others off a node, not off a zone (`plugin/pkg/admission/antiaffinity`).

use futures_util::future::BoxFuture;
use orlop_api::Value;
use orlop_api::status::StatusError;

use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct LimitPodHardAntiAffinityTopology;

const HOST_NAME: &str = "kubernetes.io/hostname";

impl Plugin for LimitPodHardAntiAffinityTopology {
    fn name(&self) -> &'static str {
        "LimitPodHardAntiAffinityTopology"
    }

    fn handles(&self, a: &Attributes) -> bool {
        matches!(a.operation, Operation::Create | Operation::Update) && a.is("", "pods") && a.subresource.is_empty()
    }

    fn validate<'a>(&'a self, _: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        let result = match wider_key(&a.object) {
            None => Ok(()),
            Some(key) => Err(a.forbidden(&format!(
                "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOST_NAME} is allowed"
            ))),
        };
        Box::pin(async { result })
    }
}

fn wider_key(pod: &Value) -> Option<&str> {
    let terms = &pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let mut keys = terms.as_array()?.iter().map(|term| term["topologyKey"].as_str().unwrap_or_default());
    keys.find(|key| *key != HOST_NAME)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_nodes_may_be_kept_clear() {
        let pod =
            |kind: &str, key: &str| json!({"spec": {"affinity": {"podAntiAffinity": {kind: [{"topologyKey": key}]}}}});
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        assert_eq!(wider_key(&pod(required, "zone")), Some("zone"));
        assert_eq!(wider_key(&pod(required, HOST_NAME)), None);
        assert_eq!(wider_key(&pod("preferredDuringSchedulingIgnoredDuringExecution", "zone")), None);
        assert_eq!(wider_key(&json!({})), None);
    }
}
