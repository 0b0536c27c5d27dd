//! Who publishes trust in a signer must be allowed to attest for it (`plugin/pkg/admission/certificates/ctbattest`).

use futures_util::future::BoxFuture;
use orlop_api::status::StatusError;

use super::cluster::may_for_signer;
use super::{Attributes, Operation, Plugin};
use crate::Server;
use crate::authz::changes_only_gc_fields;

pub struct ClusterTrustBundleAttest;

impl Plugin for ClusterTrustBundleAttest {
    fn name(&self) -> &'static str {
        "ClusterTrustBundleAttest"
    }

    fn handles(&self, a: &Attributes) -> bool {
        matches!(a.operation, Operation::Create | Operation::Update)
            && a.is("certificates.k8s.io", "clustertrustbundles")
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let signer = a.object["spec"]["signerName"].as_str().unwrap_or_default();
            let untouched = a.old_object.as_deref().is_some_and(|old| changes_only_gc_fields(&a.object, old));
            if signer.is_empty() || untouched || may_for_signer(server, &a.user, "attest", signer).await {
                return Ok(());
            }
            Err(a.forbidden(&format!("user not permitted to attest for signerName {signer:?}")))
        })
    }
}
