use crate::kinds::prelude::*;

pub struct StorageVersionMigration;

facts!(cluster("storagemigration.k8s.io", "StorageVersionMigration", "storageversionmigrations").status());

impl Kind for StorageVersionMigration {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
