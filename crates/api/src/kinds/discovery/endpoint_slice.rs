use crate::kinds::prelude::*;

pub struct EndpointSlice;

facts!(namespaced("discovery.k8s.io", "EndpointSlice", "endpointslices"));

impl Kind for EndpointSlice {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
