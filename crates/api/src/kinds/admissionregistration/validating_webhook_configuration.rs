use crate::equality::same_field;
use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct ValidatingWebhookConfiguration;

facts!(
    cluster("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations")
        .categories(&["api-extensions"])
        .generation()
);

impl Kind for ValidatingWebhookConfiguration {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: webhook_configuration::configuration,
        update: webhook_configuration::update,
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn generation_changed(&self, obj: &Value, old: &Value) -> bool {
        !same_field(obj, old, "webhooks")
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Webhooks:integer, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), obj.list("webhooks").len(), age(obj, now)]
    }
}
