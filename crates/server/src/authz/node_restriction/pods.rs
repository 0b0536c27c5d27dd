//! Pods: a node makes and removes only mirror pods of its own, and reports only on its own pods.

use orlop_api::{Value, meta};

use super::{Check, NodeRestriction, items, operation, same, text};
use crate::admission::{Attributes, Operation};
use crate::authz::node::Object;
use crate::authz::node::references::{self, MIRROR_ANNOTATION};

impl NodeRestriction {
    pub(super) fn pod(&self, node: &str, a: &Attributes) -> Check {
        match a.operation {
            Operation::Create => self.mirror_pod(node, a),
            Operation::Delete => {
                let pod = self.get("pods", &a.namespace, &a.name)?;
                if pod["spec"]["nodeName"] != node {
                    return Err(format!("node {node:?} can only delete pods with spec.nodeName set to itself").into());
                }
                Ok(())
            }
            _ => Err(format!(
                "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
                operation(a.operation)
            )
            .into()),
        }
    }

    pub(super) fn mirror_pod(&self, node: &str, a: &Attributes) -> Check {
        let pod = &a.object;
        if pod["metadata"]["annotations"][MIRROR_ANNOTATION].is_null() {
            return Err(format!(
                "pod does not have {MIRROR_ANNOTATION:?} annotation, node {node:?} can only create mirror pods"
            )
            .into());
        }
        if pod["spec"]["nodeName"] != node {
            return Err(format!("node {node:?} can only create pods with spec.nodeName set to itself").into());
        }
        let can_only = |what: &str| Err(format!("node {node:?} can only create pods with {what} set to itself").into());
        let owner = match pod["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default() {
            [owner] => owner,
            [] => return can_only("an owner reference"),
            _ => return can_only("a single owner reference"),
        };
        if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != node {
            return can_only("an owner reference");
        }
        if owner["controller"] != true {
            return can_only("a controller owner reference");
        }
        if owner["blockOwnerDeletion"] == true {
            return Err(format!("node {node:?} must not set blockOwnerDeletion on an owner reference").into());
        }
        let stored = self.get("nodes", "", node)?;
        if owner["uid"] != stored["metadata"]["uid"] {
            let (expected, got) = (text(&owner["uid"]), meta::uid(&stored));
            return Err(format!("node {node} UID mismatch: expected {expected} got {got}").into());
        }
        match referenced_object(pod) {
            Some(what) => Err(format!("node {node:?} can not create pods that reference {what}").into()),
            None => Ok(()),
        }
    }

    pub(super) fn pod_eviction(&self, node: &str, a: &Attributes) -> Check {
        if a.operation != Operation::Create {
            return Err(format!("unexpected operation {}", operation(a.operation)).into());
        }
        let name = if a.name.is_empty() { meta::name(&a.object) } else { &a.name };
        if name.is_empty() {
            return Err("could not determine pod from request data".into());
        }
        let pod = self.get("pods", &a.namespace, name)?;
        if pod["spec"]["nodeName"] != node {
            return Err(format!("node {node} can only evict pods with spec.nodeName set to itself").into());
        }
        Ok(())
    }
}

pub(super) fn pod_status(node: &str, a: &Attributes) -> Check {
    let (Operation::Update, Some(old)) = (a.operation, a.old_object.as_deref()) else {
        return Err(format!("unexpected operation {:?}", operation(a.operation)).into());
    };
    let new = &a.object;
    if old["spec"]["nodeName"] != node {
        return Err(
            format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself").into()
        );
    }
    let status = |field: &str| same(&old["status"][field], &new["status"][field]);
    let cannot = |what: &str| Err(format!("node {node:?} cannot update {what}").into());
    if !same(&old["metadata"]["labels"], &new["metadata"]["labels"]) {
        return cannot("labels through pod status");
    }
    if !status("resourceClaimStatuses") {
        // Upstream's spelling.
        return cannot("resource claim statues");
    }
    if !status("extendedResourceClaimStatus") {
        return cannot("extended resource claim status");
    }
    if !status("nodeAllocatableResourceClaimStatuses") {
        return cannot("node allocatable resource claim statuses");
    }
    Ok(())
}

/// API objects a mirror pod must not name (`pkg/api/pod HasAPIObjectReference`).
pub(super) fn referenced_object(pod: &Value) -> Option<&'static str> {
    let spec = &pod["spec"];
    if !text(&spec["serviceAccountName"]).is_empty() {
        return Some("serviceaccounts");
    }
    let named = references::named_by(pod);
    for (kind, what) in [(Object::Secret, "secrets"), (Object::ConfigMap, "configmaps")] {
        if named.iter().any(|reference| reference.kind == kind) {
            return Some(what);
        }
    }
    if items(&spec["resourceClaims"]).next().is_some() {
        return Some("resourceclaims");
    }
    items(&spec["volumes"]).find_map(referenced_by_volume)
}

pub(super) fn referenced_by_volume(volume: &Value) -> Option<&'static str> {
    const PLAIN: [(&str, &str); 7] = [
        ("configMap", "configmaps (via configmap volumes)"),
        ("secret", "secrets (via secret volumes)"),
        ("csi", "csidrivers (via CSI volumes)"),
        ("glusterfs", "endpoints (via glusterFS volumes)"),
        ("persistentVolumeClaim", "persistentvolumeclaims"),
        ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
        ("azureFile", "secrets (via azureFile volumes)"),
    ];
    const PROJECTED: [(&str, &str); 5] = [
        ("configMap", "configmaps (via projected volumes)"),
        ("secret", "secrets (via projected volumes)"),
        ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
        ("clusterTrustBundle", "clustertrustbundles"),
        ("podCertificate", "podcertificates"),
    ];
    let plain = PLAIN.iter().find(|(field, _)| !volume[*field].is_null());
    let projected = items(&volume["projected"]["sources"])
        .find_map(|source| PROJECTED.iter().find(|(field, _)| !source[*field].is_null()));
    plain.or(projected).map(|(_, what)| *what)
}
