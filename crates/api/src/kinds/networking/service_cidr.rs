use crate::kinds::prelude::*;

pub struct ServiceCIDR;

facts!(cluster("networking.k8s.io", "ServiceCIDR", "servicecidrs").status());

impl Kind for ServiceCIDR {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["metadata", "spec"]),
            _ => ResetFields::NONE,
        }
    }
}
