use crate::kinds::prelude::*;

pub struct PodCertificateRequest;

facts!(namespaced("certificates.k8s.io", "PodCertificateRequest", "podcertificaterequests").status());

impl Kind for PodCertificateRequest {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["metadata", "spec"]),
            _ => ResetFields::NONE,
        }
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn field_labels(&self) -> &'static [FieldLabel] {
        field_labels!["spec.signerName", "spec.podName", "spec.nodeName"]
    }
}
