//! Events, which one store holds for two groups; objects come with the names of core's fields.

use serde_json::Value;

use super::prelude::*;
use crate::object_meta::subdomain_rule;

/// `v1`: what clients have always sent.
pub(crate) fn core_event(obj: &Value, errors: &mut ErrorList) {
    event(obj, "reportingComponent", errors);
}

pub(crate) fn core_event_update(obj: &Value, _: &Value, errors: &mut ErrorList) {
    core_event(obj, errors);
}

/// `events.k8s.io/v1`
pub(crate) fn new_event(obj: &Value, errors: &mut ErrorList) {
    event(obj, "reportingController", errors);
    metadata(obj, true, subdomain_rule, errors);
    series(obj, errors);
    if !obj.has("eventTime") {
        errors.required(&Path::new("eventTime"), "");
    }
    let ty = obj.text("type");
    if ty != "Normal" && ty != "Warning" {
        errors.invalid(&Path::new("type"), "", format!("has invalid value: {ty}"));
    }
    for field in ["firstTimestamp", "lastTimestamp", "count", "source"] {
        let is_set = match field {
            "count" => obj.int(field) != 0,
            "source" => !obj.text("source.component").is_empty() || !obj.text("source.host").is_empty(),
            _ => obj.has(field),
        };
        if is_set {
            errors.invalid(&Path::new(field), "", "needs to be unset");
        }
    }
}

pub(crate) fn new_event_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    event(obj, "reportingController", errors);
    metadata_update(obj, old, errors);
    if !crate::equality::same_field(obj, old, "series") {
        series(obj, errors);
    }
    for (field, shown) in IMMUTABLE_FIELDS {
        // A time that is not set is null.
        let is_text = old[*field].is_string() && !field.ends_with("Time") && !field.ends_with("Timestamp");
        let rule = if is_text { immutable_text } else { immutable };
        rule(&obj[*field], &old[*field], &Path::new(shown), errors);
    }
}

const IMMUTABLE_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "involvedObject"),
    ("reason", "reason"),
    ("message", "message"),
    ("source", "source"),
    ("firstTimestamp", "firstTimestamp"),
    ("lastTimestamp", "lastTimestamp"),
    ("count", "count"),
    ("reason", "reason"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingComponent", "reportingController"),
    ("reportingInstance", "reportingInstance"),
];

fn series(obj: &Value, errors: &mut ErrorList) {
    if !obj.has("series") {
        return;
    }
    if obj.int("series.count") < 2 {
        errors.invalid(&Path::new("series.count"), "", "should be at least 2");
    }
    if !obj.has("series.lastObservedTime") {
        errors.required(&Path::new("series.lastObservedTime"), "");
    }
}

const MAX_WORD_LENGTH: usize = 128;
const MAX_NOTE_LENGTH: usize = 1024;

/// `reporter` is the name of the reporting controller's field in the request's version.
fn event(obj: &Value, reporter: &str, errors: &mut ErrorList) {
    let (namespace, involved) = (crate::meta::namespace(obj), obj.text("involvedObject.namespace"));
    let is_new = obj.has("eventTime");
    let matches = match involved {
        "" if is_new => matches!(namespace, "default" | "kube-system"),
        "" => matches!(namespace, "" | "default"),
        _ => is_new || namespace == involved,
    };
    if !matches {
        errors.invalid(&Path::new("involvedObject.namespace"), involved, "does not match event.namespace");
    }
    if !is_new {
        return;
    }
    let name = obj.text("reportingComponent");
    let at = Path::new(reporter);
    if name.is_empty() {
        errors.required(&at, "");
    }
    qualified_name(name, &at, errors);
    for field in ["reportingInstance", "action", "reason"] {
        let text = obj.text(field);
        if text.is_empty() {
            errors.required(&Path::new(field), "");
        }
        if text.len() > MAX_WORD_LENGTH {
            errors.invalid(&Path::new(field), "", format!("can have at most {MAX_WORD_LENGTH} characters"));
        }
    }
    if obj.text("message").len() > MAX_NOTE_LENGTH {
        errors.invalid(&Path::new("message"), "", format!("can have at most {MAX_NOTE_LENGTH} characters"));
    }
}
