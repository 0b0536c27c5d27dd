//! Which objects lead to which nodes.
//!
//! A pod leads to its node, and what a pod refers to leads to the pod. Instead of a general graph,
//! each object keeps the nodes it leads to with a count of the pods in between; only volumes add a
//! second step (secret, volume, claim, pod).

use std::collections::{BTreeMap, BTreeSet};

use orlop_api::Value;

use super::references::{self, Reference};
use crate::authz::follow::Fold;

/// Kinds of objects whose relation to a node matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    Pod,
    Secret,
    ConfigMap,
    ServiceAccount,
    PersistentVolumeClaim,
    PersistentVolume,
    ResourceClaim,
    ResourceSlice,
    VolumeAttachment,
    PodCertificateRequest,
}

/// Kind, namespace and name.
type Key = (Object, String, String);

#[derive(Debug, Default)]
pub struct Graph {
    /// Nodes an object leads to directly, each with the number of ways.
    nodes: BTreeMap<Key, BTreeMap<String, usize>>,
    /// What a pod, attachment, ... contributed to `nodes`, to take it back.
    contributions: BTreeMap<Key, (String, BTreeSet<Key>)>,
    /// Volume to claim (namespace, name), and the secrets the volume needs.
    volumes: BTreeMap<String, Volume>,
    /// Secret (namespace, name) to the volumes that need it.
    volumes_by_secret: BTreeMap<(String, String), BTreeSet<String>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Volume {
    claim: (String, String),
    secrets: Vec<(String, String)>,
}

const PODS: &str = "pods";
const VOLUMES: &str = "persistentvolumes";
const ATTACHMENTS: &str = "storage.k8s.io/volumeattachments";
const SLICES: &str = "resource.k8s.io/resourceslices";
const CERTIFICATES: &str = "certificates.k8s.io/podcertificaterequests";

impl Fold for Graph {
    const RESOURCES: &'static [&'static str] = &[PODS, VOLUMES, ATTACHMENTS, SLICES, CERTIFICATES];

    fn apply(&mut self, resource: &str, namespace: &str, name: &str, object: Option<&Value>) {
        let own = |kind| (kind, namespace.to_owned(), name.to_owned());
        match resource {
            PODS => {
                let references = object.map(references::of_pod).unwrap_or_default();
                self.set(own(Object::Pod), node_of(object), references);
            }
            VOLUMES => self.set_volume(name, object),
            ATTACHMENTS => self.set(own(Object::VolumeAttachment), node_of(object), Vec::new()),
            SLICES => self.set(own(Object::ResourceSlice), node_of(object), Vec::new()),
            _ => self.set(own(Object::PodCertificateRequest), node_of(object), Vec::new()),
        }
    }
}

fn node_of(object: Option<&Value>) -> &str {
    object.and_then(|object| object["spec"]["nodeName"].as_str()).unwrap_or_default()
}

impl Graph {
    /// Whether the object leads to the node.
    pub fn reaches(&self, node: &str, kind: Object, namespace: &str, name: &str) -> bool {
        let own = (namespace.to_owned(), name.to_owned());
        self.leads(node, kind, &own)
            || match kind {
                Object::PersistentVolume => self.volume_leads(node, name),
                Object::Secret => self
                    .volumes_by_secret
                    .get(&own)
                    .is_some_and(|volumes| volumes.iter().any(|volume| self.volume_leads(node, volume))),
                _ => false,
            }
    }

    fn leads(&self, node: &str, kind: Object, (namespace, name): &(String, String)) -> bool {
        let nodes = self.nodes.get(&(kind, namespace.clone(), name.clone()));
        nodes.is_some_and(|nodes| nodes.contains_key(node))
    }

    fn volume_leads(&self, node: &str, volume: &str) -> bool {
        let volume = self.volumes.get(volume);
        volume.is_some_and(|volume| self.leads(node, Object::PersistentVolumeClaim, &volume.claim))
    }

    /// `object` lies on `node` (empty: none), together with what it refers to in its namespace.
    fn set(&mut self, object: Key, node: &str, references: Vec<Reference>) {
        let mut keys: BTreeSet<Key> =
            references.into_iter().map(|reference| (reference.kind, object.1.clone(), reference.name)).collect();
        keys.insert(object.clone());
        if self.contributions.get(&object).is_some_and(|(old, old_keys)| old == node && *old_keys == keys) {
            return;
        }
        if let Some((node, keys)) = self.contributions.remove(&object) {
            for key in &keys {
                self.release(key, &node);
            }
        }
        if node.is_empty() {
            return;
        }
        for key in &keys {
            *self.nodes.entry(key.clone()).or_default().entry(node.to_owned()).or_default() += 1;
        }
        self.contributions.insert(object, (node.to_owned(), keys));
    }

    fn release(&mut self, key: &Key, node: &str) {
        let Some(nodes) = self.nodes.get_mut(key) else { return };
        if let Some(ways) = nodes.get_mut(node) {
            *ways -= 1;
            if *ways == 0 {
                nodes.remove(node);
            }
        }
        if nodes.is_empty() {
            self.nodes.remove(key);
        }
    }

    fn set_volume(&mut self, name: &str, object: Option<&Value>) {
        if let Some(old) = self.volumes.remove(name) {
            for secret in &old.secrets {
                if let Some(volumes) = self.volumes_by_secret.get_mut(secret) {
                    volumes.remove(name);
                    if volumes.is_empty() {
                        self.volumes_by_secret.remove(secret);
                    }
                }
            }
        }
        let Some(object) = object else { return };
        let claim = &object["spec"]["claimRef"];
        let text = |field: &str| claim[field].as_str().unwrap_or_default().to_owned();
        if claim.is_null() {
            return;
        }
        let volume = Volume { claim: (text("namespace"), text("name")), secrets: references::of_volume(object) };
        for secret in &volume.secrets {
            self.volumes_by_secret.entry(secret.clone()).or_default().insert(name.to_owned());
        }
        self.volumes.insert(name.to_owned(), volume);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(node: &str, secret: &str) -> Value {
        json!({
            "metadata": {"namespace": "a", "name": "p"},
            "spec": {
                "nodeName": node, "serviceAccountName": "sa",
                "volumes": [{"name": "s", "secret": {"secretName": secret}}, {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}}],
            },
        })
    }

    #[test]
    fn what_pods_refer_to_leads_to_their_node_while_they_are_there() {
        let mut graph = Graph::default();
        graph.apply(PODS, "a", "p", Some(&pod("", "s1")));
        assert!(!graph.reaches("n1", Object::Secret, "a", "s1"), "not bound yet");
        graph.apply(PODS, "a", "p", Some(&pod("n1", "s1")));
        graph.apply(PODS, "a", "q", Some(&pod("n1", "s1")));
        graph.apply(PODS, "b", "p", Some(&pod("n2", "s1")));
        for (node, kind, namespace, name, leads) in [
            ("n1", Object::Secret, "a", "s1", true),
            ("n2", Object::Secret, "a", "s1", false),
            ("n2", Object::Secret, "b", "s1", true),
            ("n1", Object::ServiceAccount, "a", "sa", true),
            ("n1", Object::Pod, "a", "q", true),
            ("n2", Object::Pod, "a", "q", false),
            ("n1", Object::PersistentVolumeClaim, "a", "claim", true),
            ("n1", Object::ConfigMap, "a", "s1", false),
        ] {
            assert_eq!(graph.reaches(node, kind, namespace, name), leads, "{node} {kind:?} {namespace}/{name}");
        }
        graph.apply(PODS, "a", "p", None);
        assert!(graph.reaches("n1", Object::Secret, "a", "s1"), "q still uses it");
        graph.apply(PODS, "a", "q", Some(&pod("n1", "s2")));
        assert!(!graph.reaches("n1", Object::Secret, "a", "s1"));
        graph.apply(PODS, "a", "q", None);
        graph.apply(PODS, "b", "p", None);
        assert!(graph.nodes.is_empty() && graph.contributions.is_empty(), "nothing is left behind");
    }

    #[test]
    fn volumes_and_their_secrets_lead_through_the_claim() {
        let mut graph = Graph::default();
        let volume = json!({"spec": {
            "claimRef": {"namespace": "a", "name": "claim"},
            "csi": {"nodePublishSecretRef": {"namespace": "k", "name": "key"}, "controllerPublishSecretRef": {"namespace": "k", "name": "other"}},
        }});
        graph.apply(VOLUMES, "", "v", Some(&volume));
        assert!(!graph.reaches("n1", Object::PersistentVolume, "", "v"));
        graph.apply(PODS, "a", "p", Some(&pod("n1", "s")));
        assert!(graph.reaches("n1", Object::PersistentVolume, "", "v"));
        assert!(graph.reaches("n1", Object::Secret, "k", "key"));
        assert!(!graph.reaches("n1", Object::Secret, "k", "other"), "not for kubelets");
        graph.apply(VOLUMES, "", "v", None);
        assert!(!graph.reaches("n1", Object::Secret, "k", "key"));
        assert!(graph.volumes_by_secret.is_empty());
    }
}
