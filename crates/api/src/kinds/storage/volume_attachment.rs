use crate::kinds::prelude::*;

pub struct VolumeAttachment;

facts!(cluster("storage.k8s.io", "VolumeAttachment", "volumeattachments").status());

impl Kind for VolumeAttachment {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["metadata", "spec"]),
            _ => ResetFields::NONE,
        }
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}
