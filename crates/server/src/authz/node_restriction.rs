//! What a kubelet's writes may say (`plugin/pkg/admission/noderestriction`): the authorizer knows
//! the request, this plugin knows the object.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use orlop_api::status::{GroupResource, StatusError};
use orlop_api::{Value, meta};
use orlop_store::{Key, Store};

use super::Authorization;
use super::node::references::{self, MIRROR_ANNOTATION};
use super::node::{Object, node_name};
use crate::Server;
use crate::admission::{Attributes, Operation, Plugin};
use crate::auth::Decision;
use crate::request::RequestInfo;

const LEASE_NAMESPACE: &str = "kube-node-lease";

pub struct NodeRestriction {
    store: Store,
    authorization: Authorization,
}

/// What the checks come to: a text for `<resource> "<name>" is forbidden: <text>`, or a status.
enum Refusal {
    Forbidden(String),
    Status(StatusError),
}

impl<T: Into<String>> From<T> for Refusal {
    fn from(text: T) -> Self {
        Self::Forbidden(text.into())
    }
}

type Check = Result<(), Refusal>;

impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn handles(&self, attributes: &Attributes) -> bool {
        attributes.operation != Operation::Connect && node_name(&attributes.user).is_some()
    }

    fn admit<'a>(
        &'a self,
        _server: &'a Server,
        attributes: &'a mut Attributes,
    ) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(std::future::ready(self.decide(attributes)))
    }
}

impl NodeRestriction {
    pub fn new(store: &Store, authorization: &Authorization) -> Self {
        Self { store: store.clone(), authorization: authorization.clone() }
    }

    fn decide(&self, attributes: &Attributes) -> Result<(), StatusError> {
        let Some(node) = node_name(&attributes.user) else { return Ok(()) };
        let forbidden = |text: &str| {
            let name =
                [&*attributes.name, meta::name(&attributes.object), meta::get(&attributes.object, "generateName")];
            let name = name.into_iter().find(|name| !name.is_empty()).unwrap_or("Unknown");
            StatusError::forbidden(attributes.resource.group_resource(), name, text)
        };
        if node.is_empty() {
            return Err(forbidden(&format!("could not determine node from user {:?}", attributes.user.name)));
        }
        self.check(node, attributes).map_err(|refusal| match refusal {
            Refusal::Forbidden(text) => forbidden(&text),
            Refusal::Status(status) => status,
        })
    }

    fn check(&self, node: &str, a: &Attributes) -> Check {
        let info = a.resource.info();
        match (&*info.group, &*info.plural, &*a.subresource) {
            ("", "pods", "") => self.pod(node, a),
            ("", "pods", "status") => pod_status(node, a),
            ("", "pods", "eviction") => self.pod_eviction(node, a),
            ("", "pods", other) => {
                Err(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed").into())
            }
            ("", "nodes", _) => own_node(node, a),
            ("", "persistentvolumeclaims", "status") => claim_status(node, a),
            ("", "persistentvolumeclaims", _) => Err("may only update PVC status".into()),
            ("", "serviceaccounts", "token") if a.operation == Operation::Create => self.token(node, a),
            ("certificates.k8s.io", "podcertificaterequests", _) => self.pod_certificate(node, a),
            ("coordination.k8s.io", "leases", _) => lease(node, a),
            ("storage.k8s.io", "csinodes", _) => csi_node(node, a),
            ("resource.k8s.io", "resourceslices", _) => resource_slice(node, a),
            ("certificates.k8s.io", "certificatesigningrequests", _) if a.operation == Operation::Create => {
                certificate_request(node, a)
            }
            _ => Ok(()),
        }
    }

    fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = Key { resource: resource.into(), namespace: namespace.into(), name: name.into() };
        self.store.get(&key).and_then(|entry| serde_json::from_slice(&entry.json).ok())
    }

    fn get(&self, resource: &'static str, namespace: &str, name: &str) -> Result<Value, Refusal> {
        let missing = || StatusError::not_found(GroupResource { group: "", resource }, name);
        self.find(resource, namespace, name).ok_or_else(|| Refusal::Status(missing()))
    }

    fn pod(&self, node: &str, a: &Attributes) -> Check {
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

    fn mirror_pod(&self, node: &str, a: &Attributes) -> Check {
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

    fn pod_eviction(&self, node: &str, a: &Attributes) -> Check {
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

    fn token(&self, node: &str, a: &Attributes) -> Check {
        let bound = &a.object["spec"]["boundObjectRef"];
        if bound["apiVersion"] != "v1" || bound["kind"] != "Pod" || text(&bound["name"]).is_empty() {
            return Err("node requested token not bound to a pod".into());
        }
        let uid = text(&bound["uid"]);
        if uid.is_empty() {
            return Err("node requested token with a pod binding without a uid".into());
        }
        let pod = self.get("pods", &a.namespace, text(&bound["name"]))?;
        if meta::uid(&pod) != uid {
            return Err(format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. \
                 The object might have been deleted and then recreated"
            )
            .into());
        }
        if pod["spec"]["nodeName"] != node {
            return Err("node requested token bound to a pod scheduled on a different node".into());
        }
        self.audience(a, &pod)
    }

    /// A node may only ask for audiences its pods ask for
    /// (`ServiceAccountNodeAudienceRestriction`).
    fn audience(&self, a: &Attributes, pod: &Value) -> Check {
        let audience = match a.object["spec"]["audiences"].as_array().map(Vec::as_slice).unwrap_or_default() {
            [] => "",
            [one] => text(one),
            _ => return Err("node may only request 0 or 1 audiences".into()),
        };
        if self.pod_asks_for(pod, audience)
            || self.allows(a, "request-serviceaccounts-token-audience", audience, &a.name)
        {
            return Ok(());
        }
        Err(format!("{} is not authorized to request tokens for audience {audience:?}", a.user.name).into())
    }

    fn pod_asks_for(&self, pod: &Value, audience: &str) -> bool {
        items(&pod["spec"]["volumes"]).any(|volume| {
            let mut sources = items(&volume["projected"]["sources"]);
            let projected = sources.any(|source| {
                let token = &source["serviceAccountToken"];
                token.is_object() && text(&token["audience"]) == audience
            });
            projected || self.driver_of(pod, volume).is_some_and(|driver| self.driver_asks_for(&driver, audience))
        })
    }

    fn driver_of(&self, pod: &Value, volume: &Value) -> Option<String> {
        let claim = if volume["ephemeral"].is_object() {
            format!("{}-{}", meta::name(pod), text(&volume["name"]))
        } else if volume["persistentVolumeClaim"].is_object() {
            text(&volume["persistentVolumeClaim"]["claimName"]).to_owned()
        } else {
            return volume["csi"]["driver"].as_str().map(str::to_owned);
        };
        let claim = self.find("persistentvolumeclaims", meta::namespace(pod), &claim)?;
        let volume = self.find("persistentvolumes", "", text(&claim["spec"]["volumeName"]))?;
        volume["spec"]["csi"]["driver"].as_str().map(str::to_owned)
    }

    fn driver_asks_for(&self, driver: &str, audience: &str) -> bool {
        let driver = self.find("storage.k8s.io/csidrivers", "", driver).unwrap_or_default();
        items(&driver["spec"]["tokenRequests"]).any(|request| text(&request["audience"]) == audience)
    }

    fn allows(&self, a: &Attributes, verb: &str, resource: &str, name: &str) -> bool {
        let request = RequestInfo {
            verb: verb.into(),
            is_resource: true,
            api_group: a.resource.info().group.to_string(),
            api_version: a.resource.version().into(),
            resource: resource.into(),
            namespace: a.namespace.clone(),
            name: name.into(),
            ..RequestInfo::default()
        };
        matches!(self.authorization.decide(&a.user, &request), Decision::Allow { .. })
    }

    fn pod_certificate(&self, node: &str, a: &Attributes) -> Check {
        if a.operation != Operation::Create || !a.subresource.is_empty() {
            return Err(format!("unexpected operation {}", operation(a.operation)).into());
        }
        let spec = &a.object["spec"];
        let field = |name: &str| text(&spec[name]);
        if field("nodeName") != node {
            return Err(format!(
                "PodCertificateRequest.Spec.NodeName={:?}, which is not the requesting node {node:?}",
                field("nodeName")
            )
            .into());
        }
        let stored = self.get("nodes", "", node)?;
        let pod = self.get("pods", &a.namespace, field("podName"))?;
        let account = self.get("serviceaccounts", &a.namespace, field("serviceAccountName"))?;
        let pod_key = format!("{}/{}", a.namespace, field("podName"));
        for (what, stored, claimed) in [
            ("node", meta::uid(&stored), field("nodeUID")),
            ("pod", meta::uid(&pod), field("podUID")),
            ("service account", meta::uid(&account), field("serviceAccountUID")),
        ] {
            if stored != claimed {
                return Err(format!(
                    "PodCertificateRequest for pod {pod_key:?} names {what} UID {claimed:?}, \
                     inconsistent with the running {what} ({stored:?})"
                )
                .into());
            }
        }
        if pod["spec"]["nodeName"] != node {
            return Err(
                format!("pod {pod_key:?} is not running on node {node:?} named in the PodCertificateRequest").into()
            );
        }
        if !pod["metadata"]["annotations"][MIRROR_ANNOTATION].is_null() {
            return Err(format!("pod {pod_key:?} is a mirror pod").into());
        }
        if text(&pod["spec"]["serviceAccountName"]) != field("serviceAccountName") {
            return Err(format!(
                "PodCertificateRequest for pod {pod_key:?} contains serviceAccountName ({:?}) that differs from \
                 running pod ({:?})",
                field("serviceAccountName"),
                text(&pod["spec"]["serviceAccountName"])
            )
            .into());
        }
        let signer = field("signerName");
        let mounts = items(&pod["spec"]["volumes"])
            .flat_map(|volume| items(&volume["projected"]["sources"]))
            .any(|source| source["podCertificate"]["signerName"] == signer);
        let verb = "request-serviceaccounts-podcertificate-signer";
        if mounts || self.allows(a, verb, &signer.replace('/', ":"), field("serviceAccountName")) {
            return Ok(());
        }
        Err(format!("pod {pod_key:?} does not mount a podCertificate projected volume for signer {signer:?}").into())
    }
}

fn pod_status(node: &str, a: &Attributes) -> Check {
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

fn claim_status(node: &str, a: &Attributes) -> Check {
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

fn own_node(node: &str, a: &Attributes) -> Check {
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
fn forbidden_labels(new: &Value, old: &Value) -> String {
    let keys = |labels: &Value| labels.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect::<Vec<_>>();
    let all: BTreeSet<String> = keys(new).into_iter().chain(keys(old)).collect();
    let changed = all.into_iter().filter(|key| new[key] != old[key]);
    changed.filter(|key| is_forbidden_label(key)).collect::<Vec<_>>().join(", ")
}

fn is_forbidden_label(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let within =
        |parent: &str| domain == parent || domain.strip_suffix(parent).is_some_and(|front| front.ends_with('.'));
    let of_kubelets = KUBELET_LABELS.contains(&key) || within("kubelet.kubernetes.io") || within("node.kubernetes.io");
    within("node-restriction.kubernetes.io") || ((within("kubernetes.io") || within("k8s.io")) && !of_kubelets)
}

fn lease(node: &str, a: &Attributes) -> Check {
    if a.namespace != LEASE_NAMESPACE {
        return Err(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace").into());
    }
    if written_name(a) != node {
        return Err("can only access node lease with the same name as the requesting node".into());
    }
    Ok(())
}

fn csi_node(node: &str, a: &Attributes) -> Check {
    if written_name(a) != node {
        return Err("can only access CSINode with the same name as the requesting node".into());
    }
    if a.subresource == "status" {
        return Err("CSIVolumeHealth feature gate is disabled".into());
    }
    Ok(())
}

fn resource_slice(node: &str, a: &Attributes) -> Check {
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

const KUBELET_SIGNERS: [&str; 2] = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

fn certificate_request(node: &str, a: &Attributes) -> Check {
    if !KUBELET_SIGNERS.contains(&text(&a.object["spec"]["signerName"])) {
        return Ok(());
    }
    let name = common_name(text(&a.object["spec"]["request"])).ok_or("unable to parse csr: not a PEM request")?;
    if name != format!("system:node:{node}") {
        return Err(format!("can only create a node CSR with CN=system:node:{node}").into());
    }
    Ok(())
}

/// The common name of a base64 PEM certificate request.
fn common_name(request: &str) -> Option<String> {
    use base64::Engine;
    use rustls::pki_types::CertificateSigningRequestDer;
    use rustls::pki_types::pem::PemObject;
    use x509_parser::prelude::FromDer;
    let pem = base64::engine::general_purpose::STANDARD.decode(request).ok()?;
    let der = CertificateSigningRequestDer::from_pem_slice(&pem).ok()?;
    let (_, request) = x509_parser::certification_request::X509CertificationRequest::from_der(&der).ok()?;
    let subject = &request.certification_request_info.subject;
    let name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
    Some(name.unwrap_or_default().to_owned())
}

/// API objects a mirror pod must not name (`pkg/api/pod HasAPIObjectReference`).
fn referenced_object(pod: &Value) -> Option<&'static str> {
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

fn referenced_by_volume(volume: &Value) -> Option<&'static str> {
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

/// The object's name, which on creation is not yet the request's.
fn written_name(a: &Attributes) -> &str {
    if a.operation == Operation::Create { meta::name(&a.object) } else { &a.name }
}

fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

/// Equal, where absent and empty are the same.
fn same(a: &Value, b: &Value) -> bool {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    a == b || (empty(a) && empty(b))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
