use crate::kinds::core::volumes::{access_modes, attributes_class, class, phase};
use crate::kinds::prelude::*;
use crate::kinds::prepare::{now, set};
use crate::table::{Now, age, cells, columns, or, quantity};

pub struct PersistentVolume;

facts!(cluster("", "PersistentVolume", "persistentvolumes").short(&["pv"]).status());

impl Kind for PersistentVolume {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: persistent_volume::volume,
        update: persistent_volume::volume_update,
        "status": persistent_volume::volume_status,
        warn: persistent_volume::warnings,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn prepare_create(&self, obj: &mut Value) {
        set(obj, "status", json!({ "phase": "Pending", "lastPhaseTransitionTime": now() }));
    }

    fn prepare_subresource(&self, subresource: &str, obj: &mut Value, old: &Value) {
        self.reset_fields(subresource).keep_old(obj, old);
        if subresource != "status" || !obj.at("status").is_object() {
            return;
        }
        let (was, is) = (old.at("status.lastPhaseTransitionTime"), obj.at("status.lastPhaseTransitionTime"));
        let moved = old.text("status.phase") != obj.text("status.phase");
        if !moved && is.is_null() && !was.is_null() {
            set(obj, "status.lastPhaseTransitionTime", was.clone());
        } else if moved && (is.is_null() || is == was) {
            set(obj, "status.lastPhaseTransitionTime", now());
        }
    }

    fn columns(&self) -> Vec<Column> {
        columns(
            "Name, Capacity, Access Modes, Reclaim Policy, Status, Claim, StorageClass, VolumeAttributesClass, Reason, Age, VolumeMode*",
        )
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let claim = match obj.at("spec.claimRef") {
            Value::Null => String::new(),
            claim => format!("{}/{}", claim.text("namespace"), claim.text("name")),
        };
        cells![
            meta::name(obj),
            quantity(obj.at("spec.capacity.storage")),
            access_modes(obj.list("spec.accessModes")),
            obj.text("spec.persistentVolumeReclaimPolicy"),
            phase(obj),
            claim,
            class(obj),
            attributes_class(obj),
            obj.text("status.reason"),
            age(obj, now),
            or(obj.text("spec.volumeMode"), "<unset>")
        ]
    }
}
