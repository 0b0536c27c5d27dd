use crate::kinds::prelude::*;

pub struct StorageClass;

facts!(cluster("storage.k8s.io", "StorageClass", "storageclasses").short(&["sc"]));

impl Kind for StorageClass {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}
