use crate::kinds::prelude::*;

pub struct ValidatingWebhookConfiguration;

facts!(
    cluster("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations")
        .categories(&["api-extensions"])
);

impl Kind for ValidatingWebhookConfiguration {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
