use crate::kinds::prelude::*;
use crate::table::{Now, cells, columns};

pub struct ComponentStatus;

facts!(cluster("", "ComponentStatus", "componentstatuses").short(&["cs"]).verbs(&["get", "list"]));

impl Kind for ComponentStatus {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Status, Message, Error")
    }

    fn row(&self, obj: &Value, _now: Now) -> Vec<Value> {
        let healthy = obj.list("conditions").iter().find(|c| c["type"] == "Healthy").unwrap_or(&Value::Null);
        let status = match (healthy, healthy.text("status")) {
            (Value::Null, _) => "Unknown",
            (_, "True") => "Healthy",
            _ => "Unhealthy",
        };
        cells![meta::name(obj), status, healthy.text("message"), healthy.text("error")]
    }
}
