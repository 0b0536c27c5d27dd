use crate::kinds::prelude::*;

pub struct MutatingAdmissionPolicyBinding;

facts!(
    cluster("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings")
        .categories(&["api-extensions"])
        .generation()
);

impl Kind for MutatingAdmissionPolicyBinding {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}
