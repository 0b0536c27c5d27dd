//! What a kubelet's writes may say (`plugin/pkg/admission/noderestriction`): the authorizer knows
//! the request, this plugin knows the object.

mod certificates;
mod objects;
mod pods;
mod tokens;

use futures_util::future::BoxFuture;
use orlop_api::status::{GroupResource, StatusError};
use orlop_api::{Value, meta};
use orlop_store::{Key, Store};

use super::Authorization;
use super::node::node_name;
use crate::Server;
use crate::admission::{Attributes, Operation, Plugin};
use crate::auth::Decision;
use crate::request::RequestInfo;

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
        Box::pin(self.decide(attributes))
    }
}

impl NodeRestriction {
    pub fn new(store: &Store, authorization: &Authorization) -> Self {
        Self { store: store.clone(), authorization: authorization.clone() }
    }

    async fn decide(&self, attributes: &Attributes) -> Result<(), StatusError> {
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
        self.check(node, attributes).await.map_err(|refusal| match refusal {
            Refusal::Forbidden(text) => forbidden(&text),
            Refusal::Status(status) => status,
        })
    }

    async fn check(&self, node: &str, a: &Attributes) -> Check {
        let info = a.resource.info();
        match (&*info.group, &*info.plural, &*a.subresource) {
            ("", "pods", "") => self.pod(node, a),
            ("", "pods", "status") => pods::pod_status(node, a),
            ("", "pods", "eviction") => self.pod_eviction(node, a),
            ("", "pods", other) => {
                Err(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed").into())
            }
            ("", "nodes", _) => objects::own_node(node, a),
            ("", "persistentvolumeclaims", "status") => objects::claim_status(node, a),
            ("", "persistentvolumeclaims", _) => Err("may only update PVC status".into()),
            ("", "serviceaccounts", "token") if a.operation == Operation::Create => self.token(node, a).await,
            ("certificates.k8s.io", "podcertificaterequests", _) => self.pod_certificate(node, a).await,
            ("coordination.k8s.io", "leases", _) => objects::lease(node, a),
            ("storage.k8s.io", "csinodes", _) => objects::csi_node(node, a),
            ("resource.k8s.io", "resourceslices", _) => objects::resource_slice(node, a),
            ("certificates.k8s.io", "certificatesigningrequests", _) if a.operation == Operation::Create => {
                certificates::certificate_request(node, a)
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

    async fn allows(&self, a: &Attributes, verb: &str, resource: &str, name: &str) -> bool {
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
        matches!(self.authorization.decide(&a.user, &request).await, Decision::Allow { .. })
    }
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
