use crate::kinds::prelude::*;

pub struct ServiceCIDR;

facts!(cluster("networking.k8s.io", "ServiceCIDR", "servicecidrs").status());

impl Kind for ServiceCIDR {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
