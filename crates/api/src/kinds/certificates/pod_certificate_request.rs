use crate::kinds::prelude::*;

pub struct PodCertificateRequest;

facts!(namespaced("certificates.k8s.io", "PodCertificateRequest", "podcertificaterequests").status());

impl Kind for PodCertificateRequest {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
