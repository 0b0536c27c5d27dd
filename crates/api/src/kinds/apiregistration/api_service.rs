use crate::kinds::prelude::*;
use crate::kinds::prepare::{now, push_condition};
use crate::table::{Now, age, cells, columns};

pub struct APIService;

facts!(cluster("apiregistration.k8s.io", "APIService", "apiservices").categories(&["api-extensions"]).status());

impl Kind for APIService {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn is_stored_as_json(&self) -> bool {
        true
    }

    validation! {
        create: api_service::api_service,
        update: api_service::update,
        "status": api_service::status,
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

    /// A service of this process is available at once.
    fn prepare_create(&self, obj: &mut Value) {
        self.reset_fields("").drop_from(obj);
        if !obj.has("spec.service") {
            let condition = json!({
                "type": "Available", "status": "True", "lastTransitionTime": now(),
                "reason": "Local", "message": "Local APIServices are always available",
            });
            push_condition(obj, condition);
        }
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Service, Available, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let service = match obj.at("spec.service") {
            Value::Null => "Local".to_owned(),
            service => format!("{}/{}", service.text("namespace"), service.text("name")),
        };
        cells![meta::name(obj), service, available(obj), age(obj, now)]
    }
}

/// `True`, `False (MissingEndpoints)`
fn available(service: &Value) -> String {
    let Some(condition) = condition(service, "Available") else { return "Unknown".to_owned() };
    match (condition.text("status"), condition.text("reason")) {
        (status @ "True", _) | (status, "") => status.to_owned(),
        (status, reason) => format!("{status} ({reason})"),
    }
}
