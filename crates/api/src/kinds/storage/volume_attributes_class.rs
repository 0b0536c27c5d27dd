use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct VolumeAttributesClass;

facts!(cluster("storage.k8s.io", "VolumeAttributesClass", "volumeattributesclasses").short(&["vac"]));

impl Kind for VolumeAttributesClass {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: storage::volume_class,
        update: storage::volume_class_update,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, DriverName, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), obj.text("driverName"), age(obj, now)]
    }
}
