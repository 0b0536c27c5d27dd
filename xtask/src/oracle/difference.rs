//! What two answers to one request differ in. A difference has a gist, which many requests share: the rule that is
//! missing, the field that is not defaulted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::exchange::Answer;

/// The longest gist; beyond it nobody reads on.
const GIST_MAX: usize = 300;
/// Of one pair of answers; what differs altogether is said by the first of them.
const MAX_PER_ANSWER: usize = 2000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub gist: String,
    pub upstream: String,
    pub orlop: String,
}

impl Difference {
    fn new(gist: impl Into<String>, upstream: &Value, orlop: &Value) -> Self {
        Self { gist: shorten(&gist.into()), upstream: text(upstream), orlop: text(orlop) }
    }
}

/// Both normalized.
pub fn compare(upstream: &Answer, orlop: &Answer) -> Vec<Difference> {
    if upstream.status == 0 && orlop.status != 0 {
        return vec![Difference::new("upstream breaks", &upstream.body, &message(orlop))];
    }
    let mut found = match (failure(upstream), failure(orlop)) {
        (Some(ours), Some(theirs)) if upstream.status == orlop.status => failures(ours, theirs),
        _ if upstream.status != orlop.status => outcomes(upstream, orlop),
        _ => values(&upstream.body, &orlop.body),
    };
    for name in ["content-type", "warning", "retry-after", "www-authenticate"] {
        let (ours, theirs) = (header(upstream, name), header(orlop, name));
        for (gist, extra, lacking) in [("missing", &ours, &theirs), ("extra", &theirs, &ours)] {
            let lone: Vec<&&str> = extra.iter().filter(|v| !lacking.contains(*v)).collect();
            for value in lone {
                let gist = format!("{gist} header {name}: {}", general(value));
                found.push(Difference::new(gist, &format!("{ours:?}").into(), &format!("{theirs:?}").into()));
            }
        }
    }
    found.truncate(MAX_PER_ANSWER);
    found
}

fn header<'a>(answer: &'a Answer, name: &str) -> BTreeSet<&'a str> {
    answer.headers.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.as_str()).collect()
}

fn failure(answer: &Answer) -> Option<&Value> {
    (answer.status >= 400 && answer.body["kind"] == "Status").then_some(&answer.body)
}

fn outcomes(upstream: &Answer, orlop: &Answer) -> Vec<Difference> {
    let told = |answer: &Answer| match failure(answer) {
        Some(status) => reasons(status),
        None => BTreeSet::new(),
    };
    let (ours, theirs) = (told(upstream), told(orlop));
    let what = format!("{}, not {}", upstream.status, orlop.status);
    let (words, missing): (&str, Vec<&String>) = match (ours.is_empty(), theirs.is_empty()) {
        (false, true) => ("upstream says", ours.iter().collect()),
        (true, false) => ("Orlop says", theirs.iter().collect()),
        _ => ("upstream says", ours.difference(&theirs).collect()),
    };
    let gists: Vec<String> = missing.iter().map(|reason| format!("{what}; {words} {reason}")).collect();
    let gists = if gists.is_empty() { vec![what] } else { gists };
    gists.into_iter().map(|gist| Difference::new(gist, &message(upstream), &message(orlop))).collect()
}

fn message(answer: &Answer) -> Value {
    failure(answer).map_or_else(|| answer.body.clone(), |status| status["message"].clone())
}

/// The causes, or where there are none the message.
fn reasons(status: &Value) -> BTreeSet<String> {
    let causes: BTreeSet<String> = status["details"]["causes"].as_array().into_iter().flatten().map(cause).collect();
    if causes.is_empty() { BTreeSet::from([general(status["message"].as_str().unwrap_or_default())]) } else { causes }
}

fn cause(cause: &Value) -> String {
    let word = |key: &str| cause[key].as_str().unwrap_or_default();
    general(&format!("{}: {}", word("field"), word("message")))
}

fn failures(upstream: &Value, orlop: &Value) -> Vec<Difference> {
    let (ours, theirs) = (reasons(upstream), reasons(orlop));
    let (up, or) = (&upstream["message"], &orlop["message"]);
    let missing = ours.difference(&theirs).map(|reason| Difference::new(format!("missing error: {reason}"), up, or));
    let extra = theirs.difference(&ours).map(|reason| Difference::new(format!("extra error: {reason}"), up, or));
    let found: Vec<Difference> = missing.chain(extra).collect();
    if found.is_empty() { values(upstream, orlop) } else { found }
}

/// Field by field.
pub fn values(upstream: &Value, orlop: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(upstream, orlop, "", &mut found);
    found
}

fn walk(upstream: &Value, orlop: &Value, path: &str, found: &mut Vec<Difference>) {
    match (upstream, orlop) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
            for key in keys {
                let dot = if path.is_empty() { "" } else { "." };
                member(ours.get(key), theirs.get(key), &format!("{path}{dot}{key}"), found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => lists(ours, theirs, path, found),
        _ if upstream == orlop => {}
        (Value::String(ours), Value::String(theirs)) if ours.contains(": ") && general(ours) == general(theirs) => {
            let what = another(ours, theirs);
            found.push(Difference::new(format!("{path}: {what} in {}", rule(ours)), upstream, orlop));
        }
        (Value::String(ours), Value::String(theirs)) if ours.len() < 80 && theirs.len() < 80 => {
            let gist = format!("{path}: {} became {}", general(ours), general(theirs));
            found.push(Difference::new(gist, upstream, orlop));
        }
        _ => found.push(Difference::new(format!("{path}: differs"), upstream, orlop)),
    }
}

fn member(upstream: Option<&Value>, orlop: Option<&Value>, path: &str, found: &mut Vec<Difference>) {
    match (upstream, orlop) {
        (Some(ours), Some(theirs)) => walk(ours, theirs, path, found),
        (Some(ours), None) => found.push(Difference::new(format!("{path}: missing"), ours, &Value::Null)),
        (None, Some(theirs)) => found.push(Difference::new(format!("{path}: extra"), &Value::Null, theirs)),
        (None, None) => {}
    }
}

/// Items with names are told apart by them, so that one more does not shift all that follow.
fn lists(upstream: &[Value], orlop: &[Value], path: &str, found: &mut Vec<Difference>) {
    let (Some(ours), Some(theirs)) = (by_identity(upstream), by_identity(orlop)) else {
        for at in 0..upstream.len().max(orlop.len()) {
            member(upstream.get(at), orlop.get(at), &format!("{path}[*]"), found);
        }
        return;
    };
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let known = found.len();
    for name in names {
        let ours = ours.get(name).map(|at| &upstream[*at]);
        let theirs = theirs.get(name).map(|at| &orlop[*at]);
        // Objects that both have differ in the same way, mostly.
        let is_object =
            ours.is_some() && theirs.is_some_and(|item| item["metadata"].is_object() || item["cells"].is_array());
        let at = if is_object { "*" } else { name };
        member(ours, theirs, &format!("{path}[{at}]"), found);
    }
    if found.len() == known && ours != theirs {
        let order = |items: &[Value]| Value::from(items.iter().filter_map(identity).collect::<Vec<_>>());
        found.push(Difference::new(format!("{path}: order"), &order(upstream), &order(orlop)));
    }
}

fn by_identity(items: &[Value]) -> Option<BTreeMap<String, usize>> {
    let names: BTreeMap<String, usize> =
        items.iter().enumerate().filter_map(|(at, item)| Some((identity(item)?, at))).collect();
    (names.len() == items.len()).then_some(names)
}

fn identity(item: &Value) -> Option<String> {
    let parts = |keys: &[&str]| {
        let parts: Vec<&str> = keys.iter().filter_map(|k| item.pointer(k)?.as_str()).collect();
        (!parts.is_empty()).then(|| parts.join("/"))
    };
    match item {
        Value::String(text) => Some(text.clone()),
        Value::Object(_) => parts(&["/manager", "/operation", "/subresource"])
            .or_else(|| parts(&["/metadata/namespace", "/metadata/name"]).filter(|_| item["metadata"].is_object()))
            // A row of a Table.
            .or_else(|| parts(&["/object/metadata/namespace", "/object/metadata/name"]))
            .or_else(|| parts(&["/resource", "/subresource"]))
            .or_else(|| parts(&["/in", "/name"]))
            .or_else(|| parts(&["/group", "/version", "/kind"]))
            .or_else(|| parts(&["/version"]))
            .or_else(|| parts(&["/type"])),
        _ => None,
    }
}

/// Without what differs between requests that break the same rule: indices, names, values.
pub fn general(text: &str) -> String {
    // What follows in other lines is a dump.
    let text = text.lines().next().unwrap_or_default();
    let mut general = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        general.push(c);
        let bracket =
            rest.find(']').filter(|end| c == '[' && *end > 0 && rest[..*end].bytes().all(|b| b.is_ascii_digit()));
        if let Some(end) = bracket {
            general.push('*');
            rest = &rest[end..];
        }
        for marker in MARKERS {
            if general.ends_with(marker) {
                general.push('…');
                rest = skip_value(rest);
            }
        }
    }
    general
}

/// What two texts differ in that say the same but for what they show.
fn another(upstream: &str, orlop: &str) -> &'static str {
    let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    if first(upstream) == first(orlop) {
        return "another dump";
    }
    let (ours, theirs) = (shown(upstream), shown(orlop));
    let differing: Vec<_> = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs).collect();
    if differing.is_empty() {
        return "another value";
    }
    if differing.iter().all(|(ours, theirs)| is_reordered(ours, theirs)) {
        return "another order";
    }
    if differing.iter().all(|(ours, theirs)| is_reordered(ours, theirs) || is_struct(ours)) {
        return "a Go struct";
    }
    "another value"
}

/// Whether two texts are one JSON value, plain or quoted, but for the order of fields.
fn is_reordered(ours: &str, theirs: &str) -> bool {
    let parsed = |text: &str| match serde_json::from_str(text).ok()? {
        Value::String(quoted) => serde_json::from_str(&quoted).ok(),
        value => Some(value),
    };
    parsed(ours).is_some_and(|value: Value| parsed(theirs) == Some(value))
}

/// The values that a text shows.
fn shown(text: &str) -> Vec<&str> {
    let text = text.lines().next().unwrap_or_default();
    let mut values = Vec::new();
    let mut rest = text;
    while let Some((at, marker)) = MARKERS.iter().filter_map(|marker| Some((rest.find(marker)?, marker))).min() {
        let value = &rest[at + marker.len()..];
        rest = skip_value(value);
        values.push(&value[..value.len() - rest.len()]);
    }
    values
}

/// Whether a value has a struct of Go in it, by its names.
fn is_struct(text: &str) -> bool {
    fn within(value: &Value) -> bool {
        match value {
            Value::Object(fields) => {
                fields.keys().any(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
                    || fields.values().any(within)
            }
            Value::Array(items) => items.iter().any(within),
            _ => false,
        }
    }
    serde_json::from_str(text).is_ok_and(|value| within(&value))
}

/// What stands before a value.
const MARKERS: [&str; 4] = ["Invalid value: ", "Duplicate value: ", "Unsupported value: ", "Not found: "];

/// What is said after the last value that is shown.
fn rule(text: &str) -> String {
    let general = general(text);
    let at = general.rfind('…').map_or(0, |at| at + '…'.len_utf8());
    general[at..].trim_matches([':', ' ', ']']).to_owned()
}

/// Past a JSON value of which a text follows.
fn skip_value(text: &str) -> &str {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(_)) => &text[values.byte_offset()..],
        _ => text.find(": ").map_or("", |at| &text[at..]),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "absent".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn shorten(gist: &str) -> String {
    let one_line = gist.replace(['\n', '\r', '|'], " ");
    match one_line.char_indices().nth(GIST_MAX) {
        Some((end, _)) => format!("{}…", &one_line[..end]),
        None => one_line,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gists(upstream: &Value, orlop: &Value) -> Vec<String> {
        values(upstream, orlop).into_iter().map(|d| d.gist).collect()
    }

    #[test]
    fn values_differ_by_field_and_items_by_name() {
        let upstream = json!({"a": 1, "b": [{"name": "x", "v": 1}, {"name": "y"}], "c": [1, 2]});
        let orlop = json!({"b": [{"name": "y"}, {"name": "x", "v": 2}], "c": [1], "d": {}});
        assert_eq!(gists(&upstream, &orlop), ["a: missing", "b[x].v: differs", "c[*]: missing", "d: extra"]);
        assert_eq!(gists(&json!({"a": ["x", "y"]}), &json!({"a": ["y", "x"]})), ["a: order"]);
    }

    #[test]
    fn errors_of_one_rule_share_a_gist() {
        let text = r#"spec.containers[12].name: Invalid value: "A: b": a lowercase RFC 1123 label"#;
        assert_eq!(general(text), "spec.containers[*].name: Invalid value: …: a lowercase RFC 1123 label");
    }

    #[test]
    fn structs_of_go_are_told_from_other_values() {
        let gist = |upstream: &str, orlop: &str| {
            let text = |value: &str| Value::from(format!("spec.a: Invalid value: {value}: field is immutable"));
            gists(&json!({"m": text(upstream)}), &json!({"m": text(orlop)}))
        };
        assert_eq!(gist(r#"{"Name":"x"}"#, r#"{"name":"x"}"#), ["m: a Go struct in field is immutable"]);
        assert_eq!(gist(r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#), ["m: another order in field is immutable"]);
        assert_eq!(gist(r#"["a"]"#, r#""a""#), ["m: another value in field is immutable"]);
    }

    #[test]
    fn a_missing_error_is_told_by_its_cause() {
        let status = |causes: Value| Answer {
            status: 422,
            headers: Vec::new(),
            body: json!({"kind": "Status", "message": "m", "details": {"causes": causes}}),
        };
        let upstream = status(json!([{"field": "spec.a", "message": "Required value"}]));
        let orlop = status(json!([{"field": "spec.b", "message": "Required value"}]));
        let found: Vec<String> = compare(&upstream, &orlop).into_iter().map(|d| d.gist).collect();
        assert_eq!(found, ["missing error: spec.a: Required value", "extra error: spec.b: Required value"]);
    }
}
