use crate::kinds::prelude::*;

pub struct PersistentVolume;

facts!(cluster("", "PersistentVolume", "persistentvolumes").short(&["pv"]).status());

impl Kind for PersistentVolume {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
