//! Certificates that clients show, and requests for new ones.

use orlop_controllers::CertificateRequest;
use orlop_server::authn::x509::user_of;

use crate::Target;

pub const TARGET: Target = Target {
    name: "certificate",
    corpus: None,
    seeds: &[include_bytes!("certificate/certificate.der"), include_bytes!("certificate/request.der")],
    run,
};

fn run(bytes: &[u8]) {
    if let Some(user) = user_of(bytes) {
        assert!(!user.name.is_empty());
    }
    if let Ok(request) = CertificateRequest::from_der(bytes) {
        let usages = ["digital signature".to_owned(), "client auth".to_owned()];
        let _ = (request.not_kubelet_client(&usages), request.not_kubelet_serving(&usages));
    }
}
