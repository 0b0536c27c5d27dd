use crate::kinds::prelude::*;
use crate::table::{age, cells, columns};

pub struct Secret;

facts!(namespaced("", "Secret", "secrets"));

impl Kind for Secret {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn field_labels(&self) -> &'static [FieldLabel] {
        field_labels!["type"]
    }

    /// An update that names no type means the type there is.
    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        if obj.text("type").is_empty() {
            crate::kind::keep_old_at(obj, old, "type");
        }
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Type, Data, Age")
    }

    fn row(&self, obj: &Value, now: i64) -> Vec<Value> {
        cells![meta::name(obj), obj.text("type"), obj.map("data").len(), age(obj, now)]
    }
}
