use crate::kinds::prelude::*;

pub struct IngressClass;

facts!(cluster("networking.k8s.io", "IngressClass", "ingressclasses").generation());

impl Kind for IngressClass {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
