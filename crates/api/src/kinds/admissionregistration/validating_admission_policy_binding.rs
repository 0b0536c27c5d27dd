use crate::kinds::prelude::*;

pub struct ValidatingAdmissionPolicyBinding;

facts!(
    cluster("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")
        .categories(&["api-extensions"])
        .generation()
);

impl Kind for ValidatingAdmissionPolicyBinding {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}
