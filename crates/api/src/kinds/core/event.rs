use crate::kinds::prelude::*;
use crate::table::{Now, cells, columns, or, since, since_micro};

pub struct Event;

facts!(namespaced("", "Event", "events").short(&["ev"]));

impl Kind for Event {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn may_own(&self) -> bool {
        false
    }

    validation! {
        create: event::core_event,
        update: event::core_event_update,
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn field_labels(&self) -> FieldLabels {
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

    fn columns(&self) -> Vec<Column> {
        columns("Last Seen, Type, Reason, Object, Subobject*, Source*, Message, First Seen*, Count*, Name*")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let first = match obj.at("firstTimestamp") {
            Value::Null => since_micro(obj.at("eventTime"), now),
            time => since(time, now),
        };
        let last = match (obj.at("series"), obj.at("lastTimestamp")) {
            (Value::Null, Value::Null) => first.clone(),
            (Value::Null, time) => since(time, now),
            (series, _) => since_micro(series.at("lastObservedTime"), now),
        };
        let count = if obj.has("series") { obj.int("series.count") } else { obj.int("count").max(1) };
        let target = match (obj.text("involvedObject.kind").to_lowercase(), obj.text("involvedObject.name")) {
            (kind, "") => kind,
            (kind, name) => format!("{kind}/{name}"),
        };
        let source = match (source(obj), or(obj.text("source.host"), obj.text("reportingInstance"))) {
            (component, "") => component.to_owned(),
            (component, instance) => format!("{component}, {instance}"),
        };
        cells![
            last,
            obj.text("type"),
            obj.text("reason"),
            target,
            obj.text("involvedObject.fieldPath"),
            source,
            obj.text("message").trim(),
            first,
            count,
            meta::name(obj)
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
