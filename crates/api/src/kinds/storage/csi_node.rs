use crate::kinds::prelude::*;

pub struct CSINode;

facts!(cluster("storage.k8s.io", "CSINode", "csinodes").status());

impl Kind for CSINode {
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
