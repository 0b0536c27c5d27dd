use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct CSINode;

facts!(cluster("storage.k8s.io", "CSINode", "csinodes").status());

impl Kind for CSINode {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: csi::node,
        update: csi::node_update,
    }

    fn returns_deleted(&self) -> bool {
        true
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
        columns("Name, Drivers:integer, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), obj.list("spec.drivers").len(), age(obj, now)]
    }
}
