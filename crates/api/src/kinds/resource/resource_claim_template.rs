use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct ResourceClaimTemplate;

facts!(namespaced("resource.k8s.io", "ResourceClaimTemplate", "resourceclaimtemplates"));

impl Kind for ResourceClaimTemplate {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: devices::template,
        update: devices::template_update,
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
