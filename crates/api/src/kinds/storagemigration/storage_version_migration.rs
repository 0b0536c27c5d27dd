use crate::kinds::prelude::*;
use crate::table::{Now, cells, columns};

pub struct StorageVersionMigration;

facts!(cluster("storagemigration.k8s.io", "StorageVersionMigration", "storageversionmigrations").status());

impl Kind for StorageVersionMigration {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: migration::migration,
        update: migration::migration_update,
        "status": migration::migration_status,
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

    fn columns(&self) -> Vec<Column> {
        columns("Name=, Resource, Status")
    }

    fn row(&self, obj: &Value, _now: Now) -> Vec<Value> {
        let (group, resource) = (obj.text("spec.resource.group"), obj.text("spec.resource.resource"));
        let resource = crate::status::GroupResource { group, resource }.to_string();
        let holds = |c: &&Value| c["status"] == "True" && matches!(c.text("type"), "Running" | "Failed" | "Succeeded");
        let status = obj.list("status.conditions").iter().rfind(holds).map_or("Unknown", |c| c.text("type"));
        cells![meta::name(obj), resource, status]
    }
}
