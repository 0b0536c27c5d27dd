use crate::kinds::prelude::*;

pub struct VolumeAttributesClass;

facts!(cluster("storage.k8s.io", "VolumeAttributesClass", "volumeattributesclasses").short(&["vac"]));

impl Kind for VolumeAttributesClass {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}
