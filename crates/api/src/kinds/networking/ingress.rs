use crate::kinds::prelude::*;

pub struct Ingress;

facts!(namespaced("networking.k8s.io", "Ingress", "ingresses").short(&["ing"]).status().generation());

impl Kind for Ingress {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
