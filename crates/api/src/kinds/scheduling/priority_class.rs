use crate::kinds::prelude::*;

pub struct PriorityClass;

facts!(cluster("scheduling.k8s.io", "PriorityClass", "priorityclasses").short(&["pc"]));

impl Kind for PriorityClass {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
