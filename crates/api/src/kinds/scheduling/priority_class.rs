use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct PriorityClass;

facts!(cluster("scheduling.k8s.io", "PriorityClass", "priorityclasses").short(&["pc"]).generation());

impl Kind for PriorityClass {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: storage::priority_class,
        update: storage::priority_class_update,
    }

    fn generation_changed(&self, _obj: &Value, _old: &Value) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Value:integer, Global-Default:boolean, Age, PreemptionPolicy")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![
            meta::name(obj),
            obj.int("value"),
            obj.flag("globalDefault"),
            age(obj, now),
            obj.text("preemptionPolicy")
        ]
    }
}
