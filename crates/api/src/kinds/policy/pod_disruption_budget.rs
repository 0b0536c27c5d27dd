use crate::kinds::prelude::*;

pub struct PodDisruptionBudget;

facts!(namespaced("policy", "PodDisruptionBudget", "poddisruptionbudgets").short(&["pdb"]).status());

impl Kind for PodDisruptionBudget {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
