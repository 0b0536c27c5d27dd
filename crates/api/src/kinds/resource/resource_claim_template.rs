use crate::kinds::prelude::*;

pub struct ResourceClaimTemplate;

facts!(namespaced("resource.k8s.io", "ResourceClaimTemplate", "resourceclaimtemplates"));

impl Kind for ResourceClaimTemplate {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}
