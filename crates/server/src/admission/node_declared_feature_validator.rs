//! What an update of a running pod needs, its node must be able to do
//! (`plugin/pkg/admission/nodedeclaredfeatures`; KEP 5328).

use futures_util::future::BoxFuture;
use orlop_api::Value;
use orlop_api::status::StatusError;

use super::cluster::find;
use super::pod_resize::node_of_changed;
use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct NodeDeclaredFeatureValidator;

/// Features by the names that nodes declare, and whether an update needs them, in the order of upstream's registry.
const FEATURES: [(&str, fn(&Value, &Value) -> bool); 3] = [
    ("InPlacePodLevelResourcesVerticalScaling", resizes_pod),
    ("InPlacePodVerticalScalingInitContainers", resizes_init_containers),
    ("InPlacePodVerticalScalingMemoryBackedVolumes", resizes_memory_volumes),
];

impl Plugin for NodeDeclaredFeatureValidator {
    fn name(&self) -> &'static str {
        "NodeDeclaredFeatureValidator"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation == Operation::Update && a.is("", "pods") && matches!(&*a.subresource, "" | "resize")
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(std::future::ready(validate(server, a)))
    }
}

fn validate(server: &Server, a: &Attributes) -> Result<(), StatusError> {
    let Some(name) = node_of_changed(a) else { return Ok(()) };
    let needed = needed(a.old_object.as_deref().unwrap_or(&Value::Null), &a.object);
    if needed.is_empty() {
        return Ok(());
    }
    let node = find(server, "nodes", "", name).ok_or_else(|| a.forbidden(&format!("node {name:?} not found")))?;
    let declared = node["status"]["declaredFeatures"].as_array().map(Vec::as_slice).unwrap_or_default();
    let missing: Vec<&str> = needed.into_iter().filter(|feature| !declared.iter().any(|own| own == feature)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(a.forbidden(&format!("pod update requires features {missing} which are not available on node {name:?}")))
}

fn needed(old: &Value, new: &Value) -> Vec<&'static str> {
    let (old, new) = (&old["spec"], &new["spec"]);
    FEATURES.into_iter().filter(|(_, needs)| needs(old, new)).map(|(name, _)| name).collect()
}

fn resizes_pod(old: &Value, new: &Value) -> bool {
    let given = |spec: &Value| Some(spec["resources"].clone()).filter(|resources| !resources.is_null());
    given(old) != given(new)
}

fn resizes_init_containers(old: &Value, new: &Value) -> bool {
    let list = |spec: &Value| spec["initContainers"].as_array().cloned().unwrap_or_default();
    let new = list(new);
    let mut pairs = list(old).into_iter().zip(new);
    pairs.any(|(old, new)| old["restartPolicy"] != "Always" && old["resources"] != new["resources"])
}

/// Volumes come and go in no update; what changes their kind, validation refuses.
fn resizes_memory_volumes(old: &Value, new: &Value) -> bool {
    let list = |spec: &Value| spec["volumes"].as_array().cloned().unwrap_or_default();
    let (old, new) = (list(old), list(new));
    old.len() == new.len()
        && old.iter().zip(&new).any(|(old, new)| {
            let limit = |volume: &Value| volume["emptyDir"]["sizeLimit"].clone();
            old["name"] == new["name"]
                && new["emptyDir"]["medium"] == "Memory"
                && !limit(old).is_null()
                && !limit(new).is_null()
                && limit(old) != limit(new)
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn updates_need_features() {
        let pod = json!({"spec": {"resources": {"requests": {"cpu": "1"}},
            "initContainers": [{"name": "i", "resources": {}}, {"name": "s", "restartPolicy": "Always"}],
            "volumes": [{"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]}});
        let with = |path: &str, value: Value| {
            let mut changed = pod.clone();
            *changed.pointer_mut(path).expect("it is there") = value;
            needed(&pod, &changed)
        };
        assert!(needed(&pod, &pod).is_empty());
        assert_eq!(with("/spec/resources", json!({})), [FEATURES[0].0]);
        assert_eq!(with("/spec/initContainers/0/resources", json!({"requests": {"cpu": "1"}})), [FEATURES[1].0]);
        assert!(
            with("/spec/initContainers/1", json!({"name": "s", "restartPolicy": "Always", "resources": {}})).is_empty()
        );
        assert_eq!(with("/spec/volumes/0/emptyDir/sizeLimit", json!("2Mi")), [FEATURES[2].0]);
    }
}
