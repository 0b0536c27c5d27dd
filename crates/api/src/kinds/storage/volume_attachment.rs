use crate::kinds::prelude::*;

pub struct VolumeAttachment;

facts!(cluster("storage.k8s.io", "VolumeAttachment", "volumeattachments").status());

impl Kind for VolumeAttachment {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
