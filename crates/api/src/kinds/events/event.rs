use crate::kinds::core::event::Event as Stored;
use crate::kinds::prelude::*;
use crate::kinds::prepare::set;
use crate::table::Now;

pub struct Event;

facts!(namespaced("events.k8s.io", "Event", "events").short(&["ev"]).stored_as("events", "/v1"));

impl Kind for Event {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn may_own(&self) -> bool {
        false
    }

    validation! {
        create: event::new_event,
        update: event::new_event_update,
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn convert(&self, obj: &mut Value, _from: &str, to: &str) {
        crate::kinds::core::event::rename_fields(obj, to == "v1");
        set(obj, "apiVersion", if to == "v1" { "events.k8s.io/v1" } else { "v1" });
    }

    fn field_labels(&self) -> FieldLabels {
        field_labels![
            "reason",
            "regarding.kind" => "involvedObject.kind",
            "regarding.namespace" => "involvedObject.namespace",
            "regarding.name" => "involvedObject.name",
            "regarding.uid" => "involvedObject.uid",
            "regarding.apiVersion" => "involvedObject.apiVersion",
            "regarding.resourceVersion" => "involvedObject.resourceVersion",
            "regarding.fieldPath" => "involvedObject.fieldPath",
            "reportingController" => "reportingComponent",
            "type",
        ]
    }

    fn columns(&self) -> Vec<Column> {
        Stored.columns()
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        Stored.row(obj, now)
    }
}
