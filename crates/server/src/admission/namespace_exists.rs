//! Nothing is written in a namespace that is not there (`plugin/pkg/admission/namespace/exists`).

use futures_util::future::BoxFuture;
use orlop_api::status::{GroupResource, StatusError};

use super::{Attributes, Operation, Plugin, cluster};
use crate::Server;

pub struct NamespaceExists;

impl Plugin for NamespaceExists {
    fn name(&self) -> &'static str {
        "NamespaceExists"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation != Operation::Connect && !a.namespace.is_empty() && !a.is("", "namespaces")
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let missing = || StatusError::not_found(GroupResource { group: "", resource: "namespaces" }, &a.namespace);
            cluster::find(server, "namespaces", "", &a.namespace).map(drop).ok_or_else(missing)
        })
    }
}
