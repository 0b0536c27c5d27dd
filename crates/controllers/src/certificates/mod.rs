//! CertificateSigningRequests: kubelets' are approved, approved ones are signed by the cluster's authority, old ones go
//! (`pkg/controller/certificates`).

pub mod approver;
pub mod cleaner;
mod request;
pub mod signer;

use orlop_api::typed::kinds::CertificateSigningRequest;

pub use request::Request;
pub use signer::Signer;

/// The service account of all three.
const NAME: &str = "certificate-controller";
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";

/// Whether a condition of this type is there and not false.
fn has(csr: &CertificateSigningRequest, condition: &str) -> bool {
    let conditions = csr.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == condition && c.status != "False")
}

fn is_issued(csr: &CertificateSigningRequest) -> bool {
    let certificate = csr.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.is_some_and(|certificate| !certificate.0.is_empty())
}
