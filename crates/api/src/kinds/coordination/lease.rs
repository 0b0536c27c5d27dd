use crate::kinds::prelude::*;
use crate::kinds::prepare::remove;
use crate::table::{Now, age, cells, columns};

pub struct Lease;

facts!(namespaced("coordination.k8s.io", "Lease", "leases"));

impl Kind for Lease {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: lease::lease,
        update: lease::update,
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn prepare_create(&self, obj: &mut Value) {
        self.prepare_update(obj, &Value::Null);
    }

    /// Coordinated leader election (KEP 4355) is off.
    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        for field in ["spec.strategy", "spec.preferredHolder"] {
            if !old.has(field) && obj.has(field) {
                remove(obj, field);
            }
        }
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Holder, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), obj.text("spec.holderIdentity"), age(obj, now)]
    }
}
