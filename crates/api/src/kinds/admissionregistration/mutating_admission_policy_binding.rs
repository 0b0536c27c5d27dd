use crate::kinds::prelude::*;

pub struct MutatingAdmissionPolicyBinding;

facts!(
    cluster("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings")
        .categories(&["api-extensions"])
);

impl Kind for MutatingAdmissionPolicyBinding {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
