use crate::kinds::prelude::*;

pub struct MutatingWebhookConfiguration;

facts!(
    cluster("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations")
        .categories(&["api-extensions"])
);

impl Kind for MutatingWebhookConfiguration {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
