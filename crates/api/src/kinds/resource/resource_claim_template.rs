use super::gated;
use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct ResourceClaimTemplate;

facts!(namespaced("resource.k8s.io", "ResourceClaimTemplate", "resourceclaimtemplates"));

impl Kind for ResourceClaimTemplate {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: device_claim::template,
        update: device_claim::template_update,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn drop_disabled(&self, obj: &mut Value, old: &Value) {
        gated::drop_in_claim(obj, old, "spec.spec.devices");
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), age(obj, now)]
    }
}
