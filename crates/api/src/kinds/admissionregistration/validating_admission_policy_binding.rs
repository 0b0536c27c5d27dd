use crate::kinds::prelude::*;

pub struct ValidatingAdmissionPolicyBinding;

facts!(
    cluster("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")
        .categories(&["api-extensions"])
);

impl Kind for ValidatingAdmissionPolicyBinding {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
