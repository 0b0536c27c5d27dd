use crate::kinds::prelude::*;

pub struct ValidatingAdmissionPolicy;

facts!(
    cluster("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", "validatingadmissionpolicies")
        .categories(&["api-extensions"])
        .status()
);

impl Kind for ValidatingAdmissionPolicy {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
