use crate::kinds::prelude::*;

pub struct PersistentVolumeClaim;

facts!(namespaced("", "PersistentVolumeClaim", "persistentvolumeclaims").short(&["pvc"]).status());

impl Kind for PersistentVolumeClaim {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
