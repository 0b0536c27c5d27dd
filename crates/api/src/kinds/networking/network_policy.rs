use crate::kinds::prelude::*;

pub struct NetworkPolicy;

facts!(namespaced("networking.k8s.io", "NetworkPolicy", "networkpolicies").short(&["netpol"]).generation());

impl Kind for NetworkPolicy {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
