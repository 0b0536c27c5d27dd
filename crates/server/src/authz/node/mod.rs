//! What a kubelet may do: its own Node and lease, the pods bound to it, and what those refer to
//! (`plugin/pkg/auth/authorizer/node`). Writes are narrowed further by NodeRestriction.

mod graph;
pub(super) mod references;

use orlop_client::transport::UserInfo;
use orlop_store::Store;

use super::bootstrap;
use super::follow::Follower;
use super::rule::Rule;
use crate::auth::Decision;
use crate::request::RequestInfo;

pub use graph::{Graph, Object};

const GROUP: &str = "system:nodes";
const USER_PREFIX: &str = "system:node:";
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// The node a user speaks for; empty when it does not say which.
pub fn node_name(user: &UserInfo) -> Option<&str> {
    let name = user.name.strip_prefix(USER_PREFIX)?;
    user.groups.iter().any(|group| group == GROUP).then_some(name)
}

pub struct NodeAuthorizer {
    graph: Follower<Graph>,
    /// For what needs no relationship: the rules of ClusterRole `system:node`.
    rules: Vec<Rule>,
}

impl NodeAuthorizer {
    pub fn new(store: &Store) -> Self {
        Self { graph: Follower::new(store), rules: bootstrap::cluster_role_rules("system:node") }
    }

    pub fn decide(&self, user: &UserInfo, request: &RequestInfo) -> Decision {
        let Some(node) = node_name(user) else { return no("") };
        if node.is_empty() {
            return no(format!("unknown node for user {:?}", user.name));
        }
        let related = |kind| self.related(node, kind, request);
        if request.is_resource {
            match (&*request.api_group, &*request.resource) {
                ("", "secrets") => return read(request, || related(Object::Secret)),
                ("", "configmaps") => return read(request, || related(Object::ConfigMap)),
                ("", "persistentvolumeclaims") if request.subresource == "status" => {
                    return match &*request.verb {
                        "update" | "patch" => related(Object::PersistentVolumeClaim),
                        _ => no("can only get/update/patch this type"),
                    };
                }
                ("", "persistentvolumeclaims") => return get(request, || related(Object::PersistentVolumeClaim)),
                ("", "persistentvolumes") => return get(request, || related(Object::PersistentVolume)),
                ("resource.k8s.io", "resourceclaims") => return get(request, || related(Object::ResourceClaim)),
                ("storage.k8s.io", "volumeattachments") => return get(request, || related(Object::VolumeAttachment)),
                ("", "serviceaccounts") => return service_account(request, || related(Object::ServiceAccount)),
                ("coordination.k8s.io", "leases") => return lease(node, request),
                ("storage.k8s.io", "csinodes") => return csi_node(node, request),
                ("resource.k8s.io", "resourceslices") => {
                    return resource_slice(node, request, || related(Object::ResourceSlice));
                }
                ("", "nodes") => return own_node(node, request),
                ("", "pods") => return pod(node, request, || related(Object::Pod)),
                ("certificates.k8s.io", "podcertificaterequests") => {
                    return pod_certificate(node, request, || related(Object::PodCertificateRequest));
                }
                _ => {}
            }
        }
        if self.rules.iter().any(|rule| rule.allows(request)) { yes() } else { no("") }
    }

    fn related(&self, node: &str, kind: Object, request: &RequestInfo) -> Decision {
        if request.name.is_empty() {
            return no("No Object name found");
        }
        if self.graph.read().reaches(node, kind, &request.namespace, &request.name) {
            yes()
        } else {
            no(format!("no relationship found between node '{node}' and this object"))
        }
    }
}

fn yes() -> Decision {
    Decision::Allow { reason: String::new() }
}

fn no(reason: impl Into<String>) -> Decision {
    Decision::NoOpinion { reason: reason.into() }
}

/// Reads of a namespaced object, also by a list or watch of one name.
fn read(request: &RequestInfo, related: impl FnOnce() -> Decision) -> Decision {
    match (&*request.verb, &*request.subresource, &*request.namespace) {
        ("get" | "list" | "watch", "", "") => no("can only read namespaced object of this type"),
        ("get" | "list" | "watch", "", _) => related(),
        ("get" | "list" | "watch", _, _) => no("cannot read subresource"),
        _ => no("can only read resources of this type"),
    }
}

fn get(request: &RequestInfo, related: impl FnOnce() -> Decision) -> Decision {
    match (&*request.verb, &*request.subresource) {
        ("get", "") => related(),
        ("get", _) => no("cannot get subresource"),
        _ => no("can only get individual resources of this type"),
    }
}

fn service_account(request: &RequestInfo, related: impl FnOnce() -> Decision) -> Decision {
    match (&*request.verb, &*request.subresource) {
        ("get", "") => read(request, related),
        ("create", _) if request.name.is_empty() => no("can only create tokens for individual service accounts"),
        ("create", "token") => related(),
        ("create", _) => no("can only create token subresource of serviceaccount"),
        _ => no("can only create tokens for individual service accounts"),
    }
}

/// The name of what is created is not known here; NodeRestriction checks it.
fn lease(node: &str, request: &RequestInfo) -> Decision {
    match &*request.verb {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return no("can only get, create, update, patch, or delete a node lease"),
    }
    if request.namespace != LEASE_NAMESPACE {
        return no(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"));
    }
    if request.verb != "create" && request.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    yes()
}

fn csi_node(node: &str, request: &RequestInfo) -> Decision {
    match (&*request.subresource, &*request.verb) {
        ("", "get" | "create" | "update" | "patch" | "delete") => {}
        ("", _) => return no("can only get, create, update, patch, or delete a CSINode"),
        ("status", _) => return no("CSINode status access requires CSIVolumeHealth feature"),
        _ => return no("cannot authorize CSINode subresources"),
    }
    if request.verb != "create" && request.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    yes()
}

fn resource_slice(node: &str, request: &RequestInfo, related: impl FnOnce() -> Decision) -> Decision {
    if !request.subresource.is_empty() {
        return no("cannot authorize ResourceSlice subresources");
    }
    match &*request.verb {
        "create" => yes(),
        "get" | "update" | "patch" | "delete" => related(),
        "watch" | "list" | "deletecollection" if selects(request, "spec.nodeName", node) => yes(),
        "watch" | "list" | "deletecollection" => {
            no("can only list/watch/deletecollection resourceslices with nodeName field selector")
        }
        _ => no("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, \
                 patch, delete, deletecollection"),
    }
}

fn pod_certificate(node: &str, request: &RequestInfo, related: impl FnOnce() -> Decision) -> Decision {
    if !request.subresource.is_empty() {
        return no("nodes may not access the status subresource of PodCertificateRequests");
    }
    match &*request.verb {
        "create" => yes(),
        "get" => related(),
        "list" | "watch" if selects(request, "spec.nodeName", node) => yes(),
        "list" | "watch" => no("can only list/watch podcertificaterequests with nodeName field selector"),
        verb => no(format!("nodes may not {verb} podcertificaterequests")),
    }
}

fn own_node(node: &str, request: &RequestInfo) -> Decision {
    match (&*request.subresource, &*request.verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => yes(),
        ("", "get" | "list" | "watch") => match &*request.name {
            name if name == node => yes(),
            "" => no(format!("node '{node}' cannot read all nodes, only its own Node object")),
            name => no(format!("node '{node}' cannot read '{name}', only its own Node object")),
        },
        _ => no(""),
    }
}

fn pod(node: &str, request: &RequestInfo, related: impl FnOnce() -> Decision) -> Decision {
    match (&*request.subresource, &*request.verb) {
        ("", "get") => get(request, related),
        ("", "list" | "watch") if selects(request, "spec.nodeName", node) => yes(),
        ("", "list" | "watch") if !request.name.is_empty() => related(),
        ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
        ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => yes(),
        _ => no(""),
    }
}

/// Whether the field selector holds `field=value` among its terms.
fn selects(request: &RequestInfo, field: &str, value: &str) -> bool {
    request.field_selector.split(',').any(|term| {
        let (key, selected) = term.split_once('=').unwrap_or((term, ""));
        // `a==b` means `a=b`; `a!=b` leaves the mark on the key.
        key.trim() == field && selected.strip_prefix('=').unwrap_or(selected).trim() == value
    })
}
