//! The node's own objects: its Node, lease, CSINode and slices; and the status of claims.

use std::collections::BTreeSet;

use orlop_api::{Value, meta};

use super::{Check, operation, same, written_name};
use crate::admission::{Attributes, Operation};

const LEASE_NAMESPACE: &str = "kube-node-lease";

pub(super) fn own_node(node: &str, a: &Attributes) -> Check {
    let name = if a.name.is_empty() { meta::name(&a.object) } else { &a.name };
    if name != node {
        return Err(format!("node {node:?} is not allowed to modify node {name:?}").into());
    }
    let new = &a.object;
    match (a.operation, a.old_object.as_deref()) {
        (Operation::Create, _) => {
            if !new["spec"]["configSource"].is_null() {
                return Err(format!("node {node:?} is not allowed to create pods with a non-nil configSource").into());
            }
            let labels = forbidden_labels(&new["metadata"]["labels"], &Value::Null);
            if !labels.is_empty() {
                return Err(format!("node {node:?} is not allowed to set the following labels: {labels}").into());
            }
        }
        (Operation::Update, Some(old)) => {
            let spec = |field: &str| same(&new["spec"][field], &old["spec"][field]);
            let not_allowed = |what: &str| Err(format!("node {node:?} is not allowed to {what}").into());
            if !new["spec"]["configSource"].is_null() && !spec("configSource") {
                return not_allowed("update configSource to a new non-nil configSource");
            }
            if !spec("taints") {
                return not_allowed("modify taints");
            }
            if !same(&new["metadata"]["ownerReferences"], &old["metadata"]["ownerReferences"]) {
                return not_allowed("modify ownerReferences");
            }
            let labels = forbidden_labels(&new["metadata"]["labels"], &old["metadata"]["labels"]);
            if !labels.is_empty() {
                return Err(format!("is not allowed to modify labels: {labels}").into());
            }
        }
        _ => {}
    }
    Ok(())
}

/// Labels under Kubernetes' domains that kubelets set (`k8s.io/kubelet/pkg/apis`).
const KUBELET_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// The changed labels that a node must not change, sorted, with commas.
pub(super) fn forbidden_labels(new: &Value, old: &Value) -> String {
    let keys = |labels: &Value| labels.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect::<Vec<_>>();
    let all: BTreeSet<String> = keys(new).into_iter().chain(keys(old)).collect();
    let changed = all.into_iter().filter(|key| new[key] != old[key]);
    changed.filter(|key| is_forbidden_label(key)).collect::<Vec<_>>().join(", ")
}

pub(super) fn is_forbidden_label(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let within =
        |parent: &str| domain == parent || domain.strip_suffix(parent).is_some_and(|front| front.ends_with('.'));
    let of_kubelets = KUBELET_LABELS.contains(&key) || within("kubelet.kubernetes.io") || within("node.kubernetes.io");
    within("node-restriction.kubernetes.io") || ((within("kubernetes.io") || within("k8s.io")) && !of_kubelets)
}

pub(super) fn lease(node: &str, a: &Attributes) -> Check {
    if a.namespace != LEASE_NAMESPACE {
        return Err(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace").into());
    }
    if written_name(a) != node {
        return Err("can only access node lease with the same name as the requesting node".into());
    }
    Ok(())
}

pub(super) fn csi_node(node: &str, a: &Attributes) -> Check {
    if written_name(a) != node {
        return Err("can only access CSINode with the same name as the requesting node".into());
    }
    if a.subresource == "status" {
        return Err("CSIVolumeHealth feature gate is disabled".into());
    }
    Ok(())
}

pub(super) fn resource_slice(node: &str, a: &Attributes) -> Check {
    let own = |slice: &Value| slice["spec"]["nodeName"] == node;
    match a.operation {
        Operation::Create if !own(&a.object) => {
            Err("can only create ResourceSlice with the same NodeName as the requesting node".into())
        }
        Operation::Delete if !a.old_object.as_deref().is_some_and(own) => {
            Err("can only delete ResourceSlice with the same NodeName as the requesting node".into())
        }
        _ => Ok(()),
    }
}

pub(super) fn claim_status(node: &str, a: &Attributes) -> Check {
    let (Operation::Update, Some(old)) = (a.operation, a.old_object.as_deref()) else {
        return Err(format!("unexpected operation {:?}", operation(a.operation)).into());
    };
    let stripped = |claim: &Value| {
        let mut claim = claim.clone();
        meta::remove(&mut claim, "resourceVersion");
        meta::remove(&mut claim, "managedFields");
        let status = meta::child_mut(&mut claim, "status");
        for field in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
            status.remove(field);
        }
        claim
    };
    if stripped(old) == stripped(&a.object) {
        return Ok(());
    }
    Err(format!("node {node:?} is not allowed to update fields other than status.quantity and status.conditions")
        .into())
}
