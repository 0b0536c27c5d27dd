//! `--logging-format=json`: a line as upstream's components write it (`k8s.io/component-base/logs/json`).

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::verbosity_of;

pub struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let about = event.metadata();
        let line = line(now_millis(), about.file().zip(about.line()), *about.level(), fields);
        writeln!(writer, "{line}")
    }
}

/// Milliseconds since the epoch, with microseconds behind the point.
fn now_millis() -> f64 {
    (orlop_base::clock::unix_nanos() / 1000) as f64 / 1e3
}

fn line(millis: f64, place: Option<(&str, u32)>, level: Level, fields: Fields) -> Value {
    let Fields { message, mut others } = fields;
    let mut line = Map::new();
    line.insert("ts".into(), millis.into());
    if let Some((file, number)) = place {
        line.insert("caller".into(), format!("{}:{number}", short(file)).into());
    }
    line.insert("msg".into(), message.into());
    // Errors have no verbosity; what they are about goes by one name.
    match level {
        Level::ERROR | Level::WARN => {
            let error = others.remove("error");
            error.into_iter().for_each(|error| drop(line.insert("err".into(), error)));
        }
        _ => drop(line.insert("v".into(), verbosity_of(level).into())),
    }
    line.append(&mut others);
    line.into()
}

/// The file and the directory it is in.
fn short(path: &str) -> &str {
    let slashes = path.rmatch_indices('/');
    slashes.map(|(at, _)| at).nth(1).map_or(path, |at| &path[at + 1..])
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.put(field, format!("{value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.put(field, value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_have_upstreams_keys() {
        let fields = || {
            let others = json!({"error": "it broke", "pods": 3});
            Fields { message: "a thing".into(), others: others.as_object().cloned().unwrap_or_default() }
        };
        let place = Some(("crates/server/src/flow/level.rs", 12));
        assert_eq!(
            line(1.5, place, Level::ERROR, fields()),
            json!({"ts": 1.5, "caller": "flow/level.rs:12", "msg": "a thing", "err": "it broke", "pods": 3})
        );
        assert_eq!(
            line(1.5, None, Level::DEBUG, fields()),
            json!({"ts": 1.5, "msg": "a thing", "v": 4, "error": "it broke", "pods": 3})
        );
    }
}
