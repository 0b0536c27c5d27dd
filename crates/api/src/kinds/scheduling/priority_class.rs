use crate::kinds::prelude::*;

pub struct PriorityClass;

facts!(cluster("scheduling.k8s.io", "PriorityClass", "priorityclasses").short(&["pc"]).generation());

impl Kind for PriorityClass {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn generation_changed(&self, _obj: &Value, _old: &Value) -> bool {
        false
    }
}
