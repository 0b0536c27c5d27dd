use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct ConfigMap;

facts!(namespaced("", "ConfigMap", "configmaps").short(&["cm"]));

impl Kind for ConfigMap {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! { create: config::config_map, update: config::config_map_update, }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Data, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), obj.map("data").len() + obj.map("binaryData").len(), age(obj, now)]
    }
}
