use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns, joined, or};

pub struct CSIDriver;

facts!(cluster("storage.k8s.io", "CSIDriver", "csidrivers").generation());

impl Kind for CSIDriver {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: csi::driver,
        update: csi::driver_update,
        warn: csi::driver_warnings,
    }

    fn generation_from_creation(&self) -> bool {
        false
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        columns(
            "Name, AttachRequired:boolean, PodInfoOnMount:boolean, StorageCapacity:boolean, TokenRequests, RequiresRepublish:boolean, Modes, Age",
        )
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let tokens = match obj.at("spec.tokenRequests") {
            Value::Array(requests) => requests.iter().map(|r| r.text("audience")).collect::<Vec<_>>().join(","),
            _ => "<unset>".to_owned(),
        };
        let modes = joined(obj.list("spec.volumeLifecycleModes"), ",");
        cells![
            meta::name(obj),
            obj.at("spec.attachRequired").as_bool().unwrap_or(true),
            obj.flag("spec.podInfoOnMount"),
            obj.flag("spec.storageCapacity"),
            tokens,
            obj.flag("spec.requiresRepublish"),
            or(&modes, "<none>"),
            age(obj, now)
        ]
    }
}
