use crate::kinds::prelude::*;
use crate::kinds::prepare::list_mut;
use crate::table::{Now, age, cells, columns};

pub struct ServiceAccount;

facts!(namespaced("", "ServiceAccount", "serviceaccounts").short(&["sa"]).subresource_of(
    "token",
    ("authentication.k8s.io", "v1", "TokenRequest"),
    &["create"]
));

impl Kind for ServiceAccount {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: service_account::service_account,
        update: service_account::update,
        warn: service_account::warnings,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn prepare_create(&self, obj: &mut Value) {
        keep_names_of_secrets(obj);
    }

    fn prepare_update(&self, obj: &mut Value, _old: &Value) {
        keep_names_of_secrets(obj);
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), age(obj, now)]
    }
}

/// References to secrets are by name alone.
fn keep_names_of_secrets(obj: &mut Value) {
    for reference in list_mut(obj, "secrets").iter_mut().filter_map(Value::as_object_mut) {
        reference.retain(|field, _| field == "name");
    }
}
