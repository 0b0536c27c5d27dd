//! Cells that many kinds share.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Map, Value};

use super::Now;
use crate::selector::Selector;
use crate::time::{self, Precision};

/// How long ago the object was created.
pub fn age(obj: &Value, now: Now) -> String {
    since(&obj["metadata"]["creationTimestamp"], now)
}

/// How long ago a `metav1.Time` was; `<unknown>` when it is not set.
pub fn since(time: &Value, now: Now) -> String {
    moment(time).map_or_else(|| "<unknown>".to_owned(), |then| now.since(then))
}

/// How long ago a `metav1.MicroTime` was.
pub fn since_micro(time: &Value, now: Now) -> String {
    let then = time.as_str().and_then(|text| time::parse(text, Precision::Micros).ok());
    then.map_or_else(|| "<unknown>".to_owned(), |then| now.since(then.seconds))
}

/// Unix seconds of a `metav1.Time`.
pub fn moment(time: &Value) -> Option<i64> {
    time::parse(time.as_str()?, Precision::Seconds).ok().map(|moment| moment.seconds)
}

/// The text, or what stands for none.
pub fn or<'a>(text: &'a str, none: &'a str) -> &'a str {
    if text.is_empty() { none } else { text }
}

/// A quantity as it is written; absent is zero.
pub fn quantity(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Null => Cow::Borrowed("0"),
        other => Cow::Owned(other.to_string()),
    }
}

/// `True`, `False`, `<unset>`.
pub fn yes_no(value: &Value) -> &'static str {
    match value.as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    }
}

/// Strings of a list, joined.
pub fn joined(items: &[Value], separator: &str) -> String {
    items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(separator)
}

/// Names and images of containers.
pub fn containers(containers: &[Value]) -> [String; 2] {
    ["name", "image"].map(|field| {
        let texts: Vec<&str> = containers.iter().map(|c| c[field].as_str().unwrap_or_default()).collect();
        texts.join(",")
    })
}

/// `a=b,c=d`, or `<none>`.
pub fn labels(labels: &Map<String, Value>) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    or(&pairs.join(","), "<none>").to_owned()
}

/// A `metav1.LabelSelector` as text, empty when it is absent or selects everything; `None` when it is
/// invalid.
pub fn label_selector(selector: &Value) -> Option<String> {
    if selector.is_null() {
        return Some(String::new());
    }
    let typed: LabelSelector = serde_json::from_value(selector.clone()).ok()?;
    Selector::from_typed(&typed).ok().map(|selector| selector.to_string())
}

/// A selector as text; `<none>` for one that is absent or selects everything.
pub fn selector_or_none(selector: &Value) -> String {
    match label_selector(selector) {
        None => "<error>".to_owned(),
        Some(text) => or(&text, "<none>").to_owned(),
    }
}

/// The first `max` of a list, and how many more there are.
pub fn unless_more(items: impl Iterator<Item = String>, max: usize, none: &str) -> String {
    let mut shown = Vec::new();
    let mut more = 0;
    for item in items {
        if shown.len() < max { shown.push(item) } else { more += 1 }
    }
    match (shown.is_empty(), more) {
        (true, _) => none.to_owned(),
        (_, 0) => shown.join(","),
        _ => format!("{} + {more} more...", shown.join(",")),
    }
}
