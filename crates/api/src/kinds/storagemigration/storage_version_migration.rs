use crate::kinds::prelude::*;

pub struct StorageVersionMigration;

facts!(cluster("storagemigration.k8s.io", "StorageVersionMigration", "storageversionmigrations").status());

impl Kind for StorageVersionMigration {
    fn info(&self) -> &KindInfo {
        &FACTS
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
