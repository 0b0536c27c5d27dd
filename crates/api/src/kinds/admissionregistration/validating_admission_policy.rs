use crate::kinds::prelude::*;

pub struct ValidatingAdmissionPolicy;

facts!(
    cluster("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", "validatingadmissionpolicies")
        .categories(&["api-extensions"])
        .status()
        .generation()
);

impl Kind for ValidatingAdmissionPolicy {
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
}
