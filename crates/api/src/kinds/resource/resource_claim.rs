use crate::kinds::prelude::*;

pub struct ResourceClaim;

facts!(namespaced("resource.k8s.io", "ResourceClaim", "resourceclaims").status());

impl Kind for ResourceClaim {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
