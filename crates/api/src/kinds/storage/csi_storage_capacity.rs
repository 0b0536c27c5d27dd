use crate::kinds::prelude::*;
use crate::table::{Now, cells, columns};

pub struct CSIStorageCapacity;

facts!(namespaced("storage.k8s.io", "CSIStorageCapacity", "csistoragecapacities"));

impl Kind for CSIStorageCapacity {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: csi::capacity,
        update: csi::capacity_update,
        warn: csi::capacity_warnings,
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Created At:date")
    }

    fn row(&self, obj: &Value, _now: Now) -> Vec<Value> {
        cells![meta::name(obj), meta::get(obj, "creationTimestamp")]
    }
}
