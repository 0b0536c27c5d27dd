use crate::kinds::prelude::*;

pub struct CSIStorageCapacity;

facts!(namespaced("storage.k8s.io", "CSIStorageCapacity", "csistoragecapacities"));

impl Kind for CSIStorageCapacity {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}
