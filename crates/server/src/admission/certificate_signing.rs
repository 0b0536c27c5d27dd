//! Who signs a certificate must be allowed to for its signer (`plugin/pkg/admission/certificates/signing`).

use futures_util::future::BoxFuture;
use orlop_api::equality;
use orlop_api::status::StatusError;

use super::cluster::may_for_signer;
use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct CertificateSigning;

impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation == Operation::Update
            && a.is("certificates.k8s.io", "certificatesigningrequests")
            && a.subresource == "status"
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let Some(old) = a.old_object.as_deref() else { return Ok(()) };
            let same = |field: &str| equality::same_field(&a.object["status"], &old["status"], field);
            if same("certificate") && same("conditions") {
                return Ok(());
            }
            let signer = old["spec"]["signerName"].as_str().unwrap_or_default();
            if may_for_signer(server, &a.user, "sign", signer).await {
                return Ok(());
            }
            Err(a.forbidden(&format!("user not permitted to sign requests with signerName {signer:?}")))
        })
    }
}
