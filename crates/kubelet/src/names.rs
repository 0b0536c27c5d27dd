//! Names this node gives to what it makes: labels and annotations of containers, files, ids.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orlop_image::users::User;

use crate::corev1::{Container, ResourceRequirements};
use crate::pod::spec::{NodePod, fingerprint};
use crate::pod::view::Instance;

pub const POD_NAME: &str = "io.kubernetes.pod.name";
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub const POD_UID: &str = "io.kubernetes.pod.uid";
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
pub const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
pub const TERMINATION_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
/// Host file behind the termination message path.
pub const TERMINATION_FILE: &str = "orlop.dev/termination-file";
/// `uid:gid:group,group`.
const USER: &str = "orlop.dev/user";
/// Requests and limits the container was made with, JSON.
const RESOURCES: &str = "orlop.dev/resources";

/// Prefix of container ids in statuses.
const ID_PREFIX: &str = "orlop://";

pub fn container_id(id: &str) -> String {
    format!("{ID_PREFIX}{id}")
}

/// The runtime's id behind a status's `containerID`.
pub fn bare_id(id: &str) -> &str {
    id.split_once("://").map_or(id, |(_, id)| id)
}

pub fn pod_labels(pod: &NodePod) -> BTreeMap<String, String> {
    let mut labels = pod.object.metadata.labels.clone().unwrap_or_default();
    labels.extend(identity(pod));
    labels
}

pub fn container_labels(pod: &NodePod, container: &Container) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = identity(pod).into_iter().collect();
    labels.insert(CONTAINER_NAME.to_owned(), container.name.clone());
    labels
}

fn identity(pod: &NodePod) -> [(String, String); 3] {
    [(POD_NAME, pod.name()), (POD_NAMESPACE, pod.namespace()), (POD_UID, pod.uid())]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
}

/// What must be known of a container even when its pod is gone from the API.
pub fn container_annotations(
    pod: &NodePod,
    container: &Container,
    attempt: u32,
    user: &User,
    termination_file: Option<&Path>,
) -> BTreeMap<String, String> {
    let groups: Vec<String> = user.groups.iter().map(ToString::to_string).collect();
    let resources = container.resources.clone().unwrap_or_default();
    let mut annotations: BTreeMap<String, String> = [
        (CONTAINER_HASH, fingerprint(container)),
        (RESTART_COUNT, attempt.to_string()),
        (TERMINATION_PATH, container.termination_message_path.clone().unwrap_or_default()),
        (TERMINATION_POLICY, container.termination_message_policy.clone().unwrap_or_default()),
        (USER, format!("{}:{}:{}", user.uid, user.gid, groups.join(","))),
        (RESOURCES, encode_resources(&resources)),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v))
    .collect();
    if let Some(seconds) = pod.spec().termination_grace_period_seconds {
        annotations.insert(TERMINATION_GRACE.to_owned(), seconds.to_string());
    }
    if let Some(file) = termination_file {
        annotations.insert(TERMINATION_FILE.to_owned(), file.display().to_string());
    }
    annotations
}

/// The user recorded in a container's annotations.
pub fn user(annotations: &BTreeMap<String, String>) -> Option<User> {
    let mut parts = annotations.get(USER)?.split(':');
    let uid = parts.next()?.parse().ok()?;
    let gid = parts.next()?.parse().ok()?;
    let groups = parts.next().unwrap_or_default().split(',').filter_map(|g| g.parse().ok()).collect();
    Some(User { uid, gid, groups, by_name: false })
}

/// The resources a container was made with, as its annotations record them.
pub fn actuated(instance: &Instance) -> Option<ResourceRequirements> {
    decode_resources(instance.runtime.annotations.get(RESOURCES)?)
}

/// `{"limits":{...},"requests":{...}}`; by hand, so that no serde code for it is generated here.
pub fn encode_resources(resources: &ResourceRequirements) -> String {
    let list = |list: &Option<crate::resources::ResourceList>| -> serde_json::Value {
        let entries = list.iter().flatten().map(|(k, q)| (k.clone(), serde_json::Value::from(q.0.clone())));
        serde_json::Value::Object(entries.collect())
    };
    let mut value = serde_json::Map::new();
    for (name, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        if amounts.is_some() {
            value.insert(name.to_owned(), list(amounts));
        }
    }
    serde_json::Value::Object(value).to_string()
}

pub fn decode_resources(text: &str) -> Option<ResourceRequirements> {
    use orlop_api::typed::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let list = |name: &str| {
        let map = value.get(name)?.as_object()?;
        Some(map.iter().filter_map(|(k, q)| Some((k.clone(), Quantity(q.as_str()?.to_owned())))).collect())
    };
    Some(ResourceRequirements { limits: list("limits"), requests: list("requests"), claims: None })
}

/// `<namespace>_<name>_<uid>`, the directory of a pod's logs.
pub fn pod_log_dir(root: &Path, pod: &NodePod) -> PathBuf {
    root.join(format!("{}_{}_{}", pod.namespace(), pod.name(), pod.uid()))
}

/// `<pod>/<container>/<attempt>.log`.
pub fn log_path(root: &Path, pod: &NodePod, container: &str, attempt: u32) -> PathBuf {
    pod_log_dir(root, pod).join(container).join(format!("{attempt}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_survive_an_annotation() {
        let text = r#"{"limits":{"cpu":"1"},"requests":{"cpu":"500m","memory":"64Mi"}}"#;
        assert_eq!(encode_resources(&decode_resources(text).expect("resources")), text);
        assert_eq!(encode_resources(&ResourceRequirements::default()), "{}");
        assert_eq!(bare_id("containerd://abc"), "abc");
    }
}
