//! Rules as data: in each file an object for every kind, and what upstream says to changes of it.

use serde_json::{Map, Value};

use crate::codec;
use crate::kinds;
use crate::kinds::read::Read;

const FILES: &[(&str, &str)] = &[
    ("config", include_str!("config.yaml")),
    ("pod", include_str!("pod.yaml")),
    ("service", include_str!("service.yaml")),
    ("workloads", include_str!("workloads.yaml")),
    ("others", include_str!("others.yaml")),
    ("cluster", include_str!("cluster.yaml")),
    ("storage", include_str!("storage.yaml")),
    ("flow_control", include_str!("flow_control.yaml")),
];

#[test]
fn errors_are_upstreams() {
    let mut wrong = String::new();
    for (file, text) in FILES {
        let (cases, _) = codec::yaml::decode(text.as_bytes(), None, codec::json::FieldValidation::Ignore).unwrap();
        for kind in cases.list("kinds") {
            for case in kind.list("cases") {
                let (got, want) = (run(kind, case), texts(&case["errors"]));
                if got != want {
                    wrong += &format!("\n{file} {}\n  got:  {got:#?}\n  want: {want:#?}\n", case["set"]);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The errors, and behind them the warnings, of one change to the kind's object.
fn run(spec: &Value, case: &Value) -> Vec<String> {
    let base = &spec["object"];
    let (group, version) = base.text("apiVersion").split_once('/').unwrap_or(("", base.text("apiVersion")));
    let kind = kinds::by_kind(group, version, base.text("kind")).expect("a kind we have");
    let mut base = base.clone();
    kind.set_defaults(version, &mut base);
    for (path, value) in spec.map("stored").iter().chain(case.map("old")) {
        set(&mut base, path, value);
    }
    let mut obj = base.clone();
    for (path, value) in case.map("set") {
        set(&mut obj, path, value);
    }
    let is_update = case.has("update");
    let errors = match case.text("update") {
        _ if !is_update => kind.validate(&obj),
        "main" => kind.validate_update(&obj, &base),
        sub => kind.validate_subresource(sub, &obj, &base),
    };
    let mut got: Vec<String> = Vec::new();
    for text in errors.0.iter().map(ToString::to_string) {
        if !got.contains(&text) {
            got.push(text);
        }
    }
    if got.is_empty() {
        got.extend(
            kind.warnings("", &obj, is_update.then_some(&base)).into_iter().map(|text| format!("warning: {text}")),
        );
    }
    got
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Sets the value at `a.b.0.c` (a key with dots in it stands in parentheses, `a.(b.c)`); null removes.
fn set(obj: &mut Value, path: &str, value: &Value) {
    let path = path.strip_prefix('.').unwrap_or(path);
    let (key, rest) = match path.strip_prefix('(').and_then(|p| p.split_once(')')) {
        Some(split) => split,
        None => path.split_at(path.find('.').unwrap_or(path.len())),
    };
    if let (Value::Array(items), Ok(i)) = (&mut *obj, key.parse::<usize>()) {
        while items.len() <= i {
            items.push(Value::Null);
        }
        return if rest.is_empty() { items[i] = value.clone() } else { set(&mut items[i], rest, value) };
    }
    if !obj.is_object() {
        *obj = Value::Object(Map::new());
    }
    let fields = obj.as_object_mut().expect("made an object above");
    match (rest, value) {
        ("", Value::Null) => drop(fields.remove(key)),
        ("", _) => drop(fields.insert(key.to_owned(), value.clone())),
        _ => set(fields.entry(key).or_insert(Value::Null), rest, value),
    }
}
