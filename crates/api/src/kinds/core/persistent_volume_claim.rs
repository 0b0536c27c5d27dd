use crate::kinds::core::volumes::{access_modes, attributes_class, class, phase};
use crate::kinds::prelude::*;
use crate::kinds::prepare::{remove, set};
use crate::table::{Now, age, cells, columns, or, quantity};

pub struct PersistentVolumeClaim;

facts!(namespaced("", "PersistentVolumeClaim", "persistentvolumeclaims").short(&["pvc"]).status());

impl Kind for PersistentVolumeClaim {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: storage::claim,
        update: storage::claim_update,
        "status": storage::claim_status,
        warn: storage::claim_warnings,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn prepare_create(&self, obj: &mut Value) {
        set(obj, "status", json!({ "phase": "Pending" }));
        settle_data_sources(obj, &Value::Null);
    }

    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        self.reset_fields("").keep_old(obj, old);
        settle_data_sources(obj, old);
    }

    fn prepare_subresource(&self, subresource: &str, obj: &mut Value, old: &Value) {
        self.reset_fields(subresource).keep_old(obj, old);
        // What is known of a volume's health (KEP 1432) is alpha.
        if subresource == "status" && !old.has("status.healthStatus") {
            remove(obj, "status.healthStatus");
        }
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age, VolumeMode*")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let volume = obj.text("spec.volumeName");
        let (capacity, modes) = match volume {
            "" => (String::new(), String::new()),
            _ => {
                (quantity(obj.at("status.capacity.storage")).into_owned(), access_modes(obj.list("status.accessModes")))
            }
        };
        cells![
            meta::name(obj),
            phase(obj),
            volume,
            capacity,
            modes,
            class(obj),
            attributes_class(obj),
            age(obj, now),
            or(obj.text("spec.volumeMode"), "<unset>")
        ]
    }
}

/// KEP 1495: `dataSource` holds only claims and snapshots; it and `dataSourceRef` fill each other in.
fn settle_data_sources(obj: &mut Value, old: &Value) {
    let old_has_source = old.has("spec.dataSource") || old.has("spec.dataSourceRef");
    // Volume data sources of other namespaces (KEP 3294) are alpha.
    if !obj.text("spec.dataSourceRef.namespace").is_empty() && !old.has("spec.dataSourceRef") {
        remove(obj, "spec.dataSourceRef");
    }
    if !old_has_source && !obj.has("spec.dataSourceRef") && !is_claim_or_snapshot(obj.at("spec.dataSource")) {
        remove(obj, "spec.dataSource");
    }
    let (source, reference) = (obj.at("spec.dataSource").clone(), obj.at("spec.dataSourceRef").clone());
    if !source.is_null() && reference.is_null() {
        set(obj, "spec.dataSourceRef", source);
    } else if source.is_null() && !reference.is_null() && !reference.has("namespace") {
        set(obj, "spec.dataSource", reference);
    }
}

fn is_claim_or_snapshot(source: &Value) -> bool {
    matches!(
        (source.text("apiGroup"), source.text("kind")),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}
