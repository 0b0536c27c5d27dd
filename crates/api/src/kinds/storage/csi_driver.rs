use crate::equality::same_field;
use crate::kinds::prelude::*;

pub struct CSIDriver;

facts!(cluster("storage.k8s.io", "CSIDriver", "csidrivers"));

impl Kind for CSIDriver {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    /// Counts changes from 0: creation sets no generation.
    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        if !same_field(obj, old, "spec") {
            crate::meta::set(obj, "generation", old.int("metadata.generation") + 1);
        }
    }
}
