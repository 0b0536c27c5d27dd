//! What pods and volumes name (`pkg/api/v1/pod`, `pkg/api/v1/persistentvolume`).

use orlop_api::{Value, meta};

use super::Object;

/// An object in the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub kind: Object,
    pub name: String,
}

/// Where pods name secrets and config maps, as paths; `*` stands for every item.
const IN_POD: &[(Object, &[&str])] = &[
    (Object::ServiceAccount, &["spec", "serviceAccountName"]),
    (Object::Secret, &["spec", "imagePullSecrets", "*", "name"]),
    (Object::ResourceClaim, &["status", "extendedResourceClaimStatus", "resourceClaimName"]),
];

/// The same below each container.
const IN_CONTAINER: &[(Object, &[&str])] = &[
    (Object::Secret, &["env", "*", "valueFrom", "secretKeyRef", "name"]),
    (Object::Secret, &["envFrom", "*", "secretRef", "name"]),
    (Object::ConfigMap, &["env", "*", "valueFrom", "configMapKeyRef", "name"]),
    (Object::ConfigMap, &["envFrom", "*", "configMapRef", "name"]),
];

/// The same below each volume.
const IN_VOLUME: &[(Object, &[&str])] = &[
    (Object::Secret, &["azureFile", "secretName"]),
    (Object::Secret, &["cephfs", "secretRef", "name"]),
    (Object::Secret, &["cinder", "secretRef", "name"]),
    (Object::Secret, &["flexVolume", "secretRef", "name"]),
    (Object::Secret, &["projected", "sources", "*", "secret", "name"]),
    (Object::Secret, &["rbd", "secretRef", "name"]),
    (Object::Secret, &["secret", "secretName"]),
    (Object::Secret, &["scaleIO", "secretRef", "name"]),
    (Object::Secret, &["iscsi", "secretRef", "name"]),
    (Object::Secret, &["storageos", "secretRef", "name"]),
    (Object::Secret, &["csi", "nodePublishSecretRef", "name"]),
    (Object::ConfigMap, &["projected", "sources", "*", "configMap", "name"]),
    (Object::ConfigMap, &["configMap", "name"]),
    (Object::PersistentVolumeClaim, &["persistentVolumeClaim", "claimName"]),
];

pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Everything a pod lets its node read. A mirror pod, which the node itself makes, gives nothing.
pub fn of_pod(pod: &Value) -> Vec<Reference> {
    if pod["metadata"]["annotations"][MIRROR_ANNOTATION].is_null() { named_by(pod) } else { Vec::new() }
}

/// Everything a pod names.
pub fn named_by(pod: &Value) -> Vec<Reference> {
    let mut found = Vec::new();
    collect(pod, IN_POD, &mut found);
    let spec = &pod["spec"];
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        items(&spec[list]).for_each(|container| collect(container, IN_CONTAINER, &mut found));
    }
    for volume in items(&spec["volumes"]) {
        collect(volume, IN_VOLUME, &mut found);
        if volume["ephemeral"].is_object() {
            let claim = format!("{}-{}", meta::name(pod), text(&volume["name"]));
            found.push(Reference { kind: Object::PersistentVolumeClaim, name: claim });
        }
    }
    for claim in items(&spec["resourceClaims"]) {
        let direct = text(&claim["resourceClaimName"]);
        let made = items(&pod["status"]["resourceClaimStatuses"]).find(|status| status["name"] == claim["name"]);
        let name =
            if direct.is_empty() { made.map_or("", |status| text(&status["resourceClaimName"])) } else { direct };
        push(Object::ResourceClaim, name, &mut found);
    }
    found
}

/// Secrets (namespace, name) that the node needs for a PersistentVolume.
pub fn of_volume(volume: &Value) -> Vec<(String, String)> {
    let spec = &volume["spec"];
    let claim_namespace = text(&spec["claimRef"]["namespace"]);
    let mut found = Vec::new();
    let mut add = |namespace: &Value, name: &Value| {
        let namespace = if text(namespace).is_empty() { claim_namespace } else { text(namespace) };
        if !text(name).is_empty() {
            found.push((namespace.to_owned(), text(name).to_owned()));
        }
    };
    add(&spec["azureFile"]["secretNamespace"], &spec["azureFile"]["secretName"]);
    for source in ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"] {
        let secret = &spec[source]["secretRef"];
        add(&secret["namespace"], &secret["name"]);
    }
    for secret in ["nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"] {
        let secret = &spec["csi"][secret];
        add(&secret["namespace"], &secret["name"]);
    }
    found
}

fn collect(value: &Value, paths: &[(Object, &[&str])], found: &mut Vec<Reference>) {
    for (kind, path) in paths {
        walk(value, path, &mut |name| push(*kind, name, found));
    }
}

fn walk(value: &Value, path: &[&str], visit: &mut dyn FnMut(&str)) {
    match path {
        [] => visit(text(value)),
        ["*", rest @ ..] => items(value).for_each(|item| walk(item, rest, visit)),
        [field, rest @ ..] => walk(&value[*field], rest, visit),
    }
}

fn push(kind: Object, name: &str, found: &mut Vec<Reference>) {
    if !name.is_empty() {
        found.push(Reference { kind, name: name.to_owned() });
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_refer_in_many_ways() {
        let mut pod = json!({
            "metadata": {"name": "p"},
            "spec": {
                "serviceAccountName": "sa",
                "imagePullSecrets": [{"name": "pull"}],
                "initContainers": [{"envFrom": [{"configMapRef": {"name": "c1"}}, {"secretRef": {"name": "s1"}}]}],
                "containers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "c2"}}}, {"value": "x"}]}],
                "ephemeralContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s2"}}}]}],
                "volumes": [
                    {"name": "v", "projected": {"sources": [{"secret": {"name": "s3"}}, {"configMap": {"name": "c3"}}]}},
                    {"name": "w", "ephemeral": {}},
                ],
                "resourceClaims": [{"name": "r", "resourceClaimName": "r1"}, {"name": "t"}],
            },
            "status": {"resourceClaimStatuses": [{"name": "t", "resourceClaimName": "t-made"}]},
        });
        let names = |kind| {
            let references = of_pod(&pod).into_iter().filter(|reference| reference.kind == kind);
            references.map(|reference| reference.name).collect::<Vec<_>>()
        };
        assert_eq!(names(Object::Secret), ["pull", "s1", "s2", "s3"]);
        assert_eq!(names(Object::ConfigMap), ["c1", "c2", "c3"]);
        assert_eq!(names(Object::ServiceAccount), ["sa"]);
        assert_eq!(names(Object::PersistentVolumeClaim), ["p-w"]);
        assert_eq!(names(Object::ResourceClaim), ["r1", "t-made"]);
        pod["metadata"]["annotations"] = json!({MIRROR_ANNOTATION: "x"});
        assert_eq!(of_pod(&pod), []);
    }
}
