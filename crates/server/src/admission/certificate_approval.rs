//! Who approves a certificate must be allowed to for its signer (`plugin/pkg/admission/certificates/approval`).

use futures_util::future::BoxFuture;
use orlop_api::status::StatusError;

use super::cluster::may_for_signer;
use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct CertificateApproval;

impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation == Operation::Update
            && a.is("certificates.k8s.io", "certificatesigningrequests")
            && a.subresource == "approval"
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let signer = a.old_object.as_deref().and_then(|old| old["spec"]["signerName"].as_str()).unwrap_or_default();
            if may_for_signer(server, &a.user, "approve", signer).await {
                return Ok(());
            }
            Err(a.forbidden(&format!("user not permitted to approve requests with signerName {signer:?}")))
        })
    }
}
