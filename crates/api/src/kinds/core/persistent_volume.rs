use crate::kinds::prelude::*;
use crate::kinds::prepare::{now, set};

pub struct PersistentVolume;

facts!(cluster("", "PersistentVolume", "persistentvolumes").short(&["pv"]).status());

impl Kind for PersistentVolume {
    fn info(&self) -> &KindInfo {
        &FACTS
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
}
