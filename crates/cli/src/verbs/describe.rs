//! `describe`: everything about an object that a person wants to read, and its events.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use orlop_client::ListOptions;
use serde_json::Value;

use super::selection::{Found, Selectors, find};
use crate::manifest::Files;
use crate::print::{Columns, Printer};
use crate::session::Session;

#[derive(Args, Debug)]
pub struct Arguments {
    /// TYPE [NAME...] or TYPE/NAME...
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
    /// Leave out the events
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    show_events: bool,
}

pub async fn run(session: &Session, arguments: Arguments) -> Result<ExitCode> {
    let found = find(session, &arguments.words, &arguments.files, &arguments.selectors, true).await?;
    if found.is_empty() {
        Printer.note("No resources found");
    }
    for (index, object) in found.iter().enumerate() {
        if index > 0 {
            Printer.bytes(b"\n\n");
        }
        let mut text = describe(&object.object);
        if arguments.show_events {
            text.push_str(&events(session, object).await?);
        }
        Printer.bytes(text.as_bytes());
    }
    Ok(ExitCode::SUCCESS)
}

/// Metadata first, then spec, status and whatever else, as an indented tree with titled names.
fn describe(object: &Value) -> String {
    let mut lines: Vec<(usize, String, String)> = Vec::new();
    let text = |field: &str| orlop_api::meta::get(object, field).to_owned();
    lines.push((0, "Name".into(), text("name")));
    if !text("namespace").is_empty() {
        lines.push((0, "Namespace".into(), text("namespace")));
    }
    for (title, field) in [("Labels", "labels"), ("Annotations", "annotations")] {
        let pairs = object["metadata"][field].as_object().into_iter().flatten();
        let texts: Vec<String> = pairs.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
        for (index, pair) in texts.iter().enumerate() {
            lines.push((0, if index == 0 { title.into() } else { String::new() }, pair.clone()));
        }
        if texts.is_empty() {
            lines.push((0, title.into(), "<none>".into()));
        }
    }
    for (title, field) in [("Creation Timestamp", "creationTimestamp"), ("Deletion Timestamp", "deletionTimestamp")] {
        if !text(field).is_empty() {
            lines.push((0, title.into(), text(field)));
        }
    }
    for owner in
        object["metadata"]["ownerReferences"].as_array().into_iter().flatten().filter(|o| o["controller"] == true)
    {
        let by =
            format!("{}/{}", owner["kind"].as_str().unwrap_or_default(), owner["name"].as_str().unwrap_or_default());
        lines.push((0, "Controlled By".into(), by));
    }
    for (field, value) in object.as_object().into_iter().flatten() {
        if !matches!(field.as_str(), "metadata" | "apiVersion" | "kind") {
            tree(0, &title(field), value, &mut lines);
        }
    }
    render(&lines)
}

fn tree(depth: usize, name: &str, value: &Value, lines: &mut Vec<(usize, String, String)>) {
    match value {
        Value::Object(map) if map.is_empty() => lines.push((depth, name.into(), "{}".into())),
        Value::Object(map) => {
            lines.push((depth, name.into(), String::new()));
            map.iter().for_each(|(key, value)| tree(depth + 1, &title(key), value, lines));
        }
        Value::Array(items) if items.iter().all(|i| !i.is_object() && !i.is_array()) => {
            let texts: Vec<String> = items.iter().map(scalar).collect();
            lines.push((depth, name.into(), texts.join(", ")));
        }
        Value::Array(items) => {
            lines.push((depth, name.into(), String::new()));
            for item in items {
                let own = ["name", "type", "key", "ip", "mountPath", "containerPort"].iter().find_map(|k| item.get(*k));
                let own = own.map_or_else(|| "-".into(), scalar);
                tree(depth + 1, &own, item, lines);
            }
        }
        other => lines.push((depth, name.into(), scalar(other))),
    }
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `restartPolicy` -> `Restart Policy`.
fn title(field: &str) -> String {
    let mut out = String::new();
    let mut previous_upper = false;
    for (index, c) in field.chars().enumerate() {
        if index == 0 {
            out.extend(c.to_uppercase());
        } else {
            if c.is_uppercase() && !previous_upper {
                out.push(' ');
            }
            out.push(c);
        }
        previous_upper = c.is_uppercase();
    }
    out
}

/// Values of one level stand below each other.
fn render(lines: &[(usize, String, String)]) -> String {
    let width = lines.iter().map(|(depth, name, _)| depth * 2 + name.chars().count() + 3).max().unwrap_or(0).min(48);
    let mut text = String::new();
    for (depth, name, value) in lines {
        let label = if name.is_empty() { String::new() } else { format!("{}{name}:", "  ".repeat(*depth)) };
        let padded = if value.is_empty() { label } else { format!("{label:<width$}{value}") };
        text.push_str(padded.trim_end());
        text.push('\n');
    }
    text
}

async fn events(session: &Session, found: &Found) -> Result<String> {
    let meta = &found.object["metadata"];
    let selector = [
        ("involvedObject.name", &meta["name"]),
        ("involvedObject.namespace", &meta["namespace"]),
        ("involvedObject.uid", &meta["uid"]),
    ];
    let given = selector.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    let options = ListOptions::fields(given.collect::<Vec<_>>().join(","));
    let resource = session.catalogue().await?.find("events")?.resource.clone();
    let namespace = meta["namespace"].as_str().unwrap_or_default();
    let mut events: Vec<Value> =
        session.api(&resource, namespace).list_all(&options).await?.items.into_iter().map(|e| e.0).collect();
    if events.is_empty() {
        return Ok("Events: <none>\n".into());
    }
    events.sort_by_key(last_seen);
    let now = orlop_base::clock::unix_seconds();
    let row = |event: &Value| {
        let age = human(now - last_seen(event));
        let count = event["count"].as_i64().unwrap_or(1);
        let age = if count > 1 { format!("{age} (x{count})") } else { age };
        let text = |field: &str| event[field].as_str().unwrap_or_default().trim().to_owned();
        let from = [&event["source"]["component"], &event["reportingComponent"]]
            .iter()
            .find_map(|v| v.as_str())
            .unwrap_or_default();
        vec![text("type"), text("reason"), age, from.to_owned(), text("message")]
    };
    let heads = ["Type", "Reason", "Age", "From", "Message"].map(str::to_owned).to_vec();
    let table = Columns { heads, rows: events.iter().map(row).collect() }.render(true);
    let body: String = table.lines().map(|line| format!("  {line}\n")).collect();
    Ok(format!("Events:\n{body}"))
}

/// Unix seconds of the latest time an event carries.
fn last_seen(event: &Value) -> i64 {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    let parse = |v: &&Value| v.as_str()?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    times.iter().find_map(parse).unwrap_or(0)
}

/// `5s`, `3m`, `2h`, `4d`.
fn human(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s}s"),
        s @ 120..7200 => format!("{}m", s / 60),
        s @ 7200..172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_reads_as_a_tree() {
        let text = describe(
            &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "d", "labels": {"a": "b"}},
            "spec": {"restartPolicy": "Always", "containers": [{"name": "web", "args": ["x", "y"]}]}, "status": {"podIP": "1.2.3.4"}}),
        );
        let expected = [
            "Name:              p",
            "Namespace:         d",
            "Labels:            a=b",
            "Annotations:       <none>",
            "Spec:",
            "  Containers:",
            "    web:",
            "      Args:        x, y",
            "      Name:        web",
            "  Restart Policy:  Always",
            "Status:",
            "  Pod IP:          1.2.3.4",
        ];
        let text: Vec<&str> = text.lines().collect();
        assert_eq!(text, expected);
    }
}
