use crate::kinds::prelude::*;

pub struct CertificateSigningRequest;

facts!(
    cluster("certificates.k8s.io", "CertificateSigningRequest", "certificatesigningrequests")
        .short(&["csr"])
        .subresource("approval", "CertificateSigningRequest", &["get", "patch", "update"])
        .status()
);

impl Kind for CertificateSigningRequest {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
