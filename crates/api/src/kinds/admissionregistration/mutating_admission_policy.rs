use crate::kinds::prelude::*;

pub struct MutatingAdmissionPolicy;

facts!(
    cluster("admissionregistration.k8s.io", "MutatingAdmissionPolicy", "mutatingadmissionpolicies")
        .categories(&["api-extensions"])
        .generation()
);

impl Kind for MutatingAdmissionPolicy {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}
