//! A namespace is made with the first thing in it (`plugin/pkg/admission/namespace/autoprovision`).

use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use orlop_api::status::StatusError;
use orlop_client::{Client, Dynamic, Resource};
use serde_json::json;

use super::{Attributes, Operation, Plugin, cluster};
use crate::Server;

/// The plugin is older than the server it writes through.
#[derive(Clone, Default)]
pub struct Provisioner(Arc<OnceLock<Client>>);

impl Provisioner {
    pub fn set(&self, client: Client) {
        // The first one stays.
        let _ = self.0.set(client);
    }
}

pub struct NamespaceAutoProvision(pub Provisioner);

impl Plugin for NamespaceAutoProvision {
    fn name(&self) -> &'static str {
        "NamespaceAutoProvision"
    }

    fn handles(&self, a: &Attributes) -> bool {
        let inside = !a.namespace.is_empty() && !a.is("", "namespaces");
        a.operation == Operation::Create && inside && !a.dry_run
    }

    fn admit<'a>(&'a self, server: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            if cluster::find(server, "namespaces", "", &a.namespace).is_some() {
                return Ok(());
            }
            let client = self.0.0.get().ok_or_else(|| a.forbidden("not yet ready to handle request"))?;
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": a.namespace}});
            match client.dynamic(&namespaces(), "").create(&Dynamic(namespace)).await {
                Err(error) if !error.is_already_exists() => Err(a.forbidden(&error.to_string())),
                _ => Ok(()),
            }
        })
    }
}

fn namespaces() -> Resource {
    Resource {
        group: "".into(),
        version: "v1".into(),
        plural: "namespaces".into(),
        kind: "Namespace".into(),
        namespaced: false,
    }
}
