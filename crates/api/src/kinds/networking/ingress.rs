use crate::kinds::prelude::*;

pub struct Ingress;

facts!(namespaced("networking.k8s.io", "Ingress", "ingresses").short(&["ing"]).status());

impl Kind for Ingress {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
