use crate::kinds::prelude::*;

pub struct RuntimeClass;

facts!(cluster("node.k8s.io", "RuntimeClass", "runtimeclasses"));

impl Kind for RuntimeClass {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }
}
