use crate::kinds::prelude::*;

pub struct Event;

facts!(namespaced("", "Event", "events").short(&["ev"]));

impl Kind for Event {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn field_labels(&self) -> &'static [FieldLabel] {
        field_labels![
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source" => (|event| source(event).into()),
            "type",
        ]
    }
}

/// Who reports, by the old field or by the new one.
fn source(event: &Value) -> &str {
    match event.text("source.component") {
        "" => event.text("reportingComponent"),
        component => component,
    }
}

/// Fields of core's Event and their names in `events.k8s.io/v1`; all others are the same.
const RENAMED: [(&str, &str); 7] = [
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("involvedObject", "regarding"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
];

/// Renames from core to `events.k8s.io` (`to_events`) or back.
pub(in crate::kinds) fn rename_fields(obj: &mut Value, to_events: bool) {
    let Value::Object(event) = obj else { return };
    for (core, events) in RENAMED {
        let (from, to) = if to_events { (core, events) } else { (events, core) };
        if let Some(value) = event.remove(from) {
            event.insert(to.to_owned(), value);
        }
    }
}
