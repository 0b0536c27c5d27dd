use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct DeviceClass;

facts!(cluster("resource.k8s.io", "DeviceClass", "deviceclasses").generation());

impl Kind for DeviceClass {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: devices::class,
        update: devices::class_update,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), age(obj, now)]
    }
}
