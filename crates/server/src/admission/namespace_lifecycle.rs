//! Nothing is made in a namespace that is missing or ending, and the system's namespaces stay
//! (`k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle`).

use futures_util::future::BoxFuture;
use orlop_api::status::{GroupResource, StatusError};
use serde_json::json;

use super::{Attributes, Operation, Plugin};
use crate::Server;
use crate::wire::raw;

pub struct NamespaceLifecycle;

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn handles(&self, a: &Attributes) -> bool {
        match a.operation {
            Operation::Create | Operation::Update => !a.namespace.is_empty() && !a.is("", "namespaces"),
            Operation::Delete => a.is("", "namespaces"),
            Operation::Connect => false,
        }
    }

    fn admit<'a>(&'a self, server: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move { decide(server, a) })
    }
}

fn decide(server: &Server, a: &Attributes) -> Result<(), StatusError> {
    let namespaces = GroupResource { group: "", resource: "namespaces" };
    if a.operation == Operation::Delete {
        if IMMORTAL.contains(&&*a.name) {
            return Err(StatusError::forbidden(namespaces, &a.name, "this namespace may not be deleted"));
        }
        return Ok(());
    }
    // An answer about the namespace would tell what the review is there to hide.
    if a.is("authorization.k8s.io", "localsubjectaccessreviews") {
        return Ok(());
    }
    let key =
        orlop_store::Key { resource: "namespaces".into(), namespace: "".into(), name: a.namespace.as_str().into() };
    let namespace = server.store.newest(&key).ok_or_else(|| StatusError::not_found(namespaces, &a.namespace))?;
    if a.operation != Operation::Create || raw::find_str(&namespace.json, &["status", "phase"]) != Some("Terminating") {
        return Ok(());
    }
    let mut status = a.forbidden(&format!(
        "unable to create new content in namespace {} because it is being terminated",
        a.namespace
    ));
    if let Some(details) = status.details.as_deref_mut() {
        details["causes"] = json!([{
            "reason": "NamespaceTerminating", "message": format!("namespace {} is being terminated", a.namespace),
            "field": "metadata.namespace",
        }]);
    }
    Err(status)
}
