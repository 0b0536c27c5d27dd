use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct RuntimeClass;

facts!(cluster("node.k8s.io", "RuntimeClass", "runtimeclasses"));

impl Kind for RuntimeClass {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: runtime_class::class,
        update: runtime_class::class_update,
        warn: runtime_class::warnings,
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Handler, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), obj.text("handler"), age(obj, now)]
    }
}
