use super::gated;
use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct ResourceSlice;

facts!(cluster("resource.k8s.io", "ResourceSlice", "resourceslices").generation());

impl Kind for ResourceSlice {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: device_slice::slice,
        update: device_slice::slice_update,
        warn: device_slice::slice_warnings,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn drop_disabled(&self, obj: &mut Value, old: &Value) {
        gated::drop_in_slice(obj, old);
    }

    fn field_labels(&self) -> FieldLabels {
        field_labels!["spec.nodeName", "spec.driver", "spec.pool.name"]
    }

    fn unknown_field_label(&self, label: &str) -> String {
        format!("field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {label}")
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Node, Driver, Pool, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![
            meta::name(obj),
            obj.text("spec.nodeName"),
            obj.text("spec.driver"),
            obj.text("spec.pool.name"),
            age(obj, now)
        ]
    }
}
