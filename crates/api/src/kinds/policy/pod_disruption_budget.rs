use crate::kinds::prelude::*;

pub struct PodDisruptionBudget;

facts!(namespaced("policy", "PodDisruptionBudget", "poddisruptionbudgets").short(&["pdb"]).status().generation());

impl Kind for PodDisruptionBudget {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}
