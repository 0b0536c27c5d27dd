//! One OpenAPI v2 document of several (`k8s.io/kube-openapi/pkg/aggregator`). Pure.

use std::collections::{BTreeMap, BTreeSet};

use orlop_api::Value;
use serde_json::Map;

/// What paths refer to, by section of the document.
const SECTIONS: [&str; 2] = ["definitions", "parameters"];

/// Adds the paths of `theirs` at and below `prefix`, and what they refer to. What is called like something else of
/// ours gets another name.
pub fn add(ours: &mut Value, theirs: &Value, prefix: &str) {
    let is_below = |path: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let all = theirs["paths"].as_object().into_iter().flatten();
    let paths: Vec<(&String, &Value)> = all.filter(|(path, _)| is_below(path)).collect();
    let mut wanted = BTreeSet::new();
    paths.iter().for_each(|(_, item)| gather(item, theirs, &mut wanted));
    let names: BTreeMap<String, String> =
        wanted.iter().map(|reference| (reference.clone(), name_among(ours, theirs, reference))).collect();
    for (old, new) in &names {
        let Some(mut meant) = lookup(theirs, old).cloned() else { continue };
        if lookup(ours, new).is_none() {
            rename(&mut meant, &names);
            insert(ours, new, meant);
        }
    }
    for (path, item) in paths {
        let mut item = item.clone();
        rename(&mut item, &names);
        ours["paths"][path.as_str()] = item;
    }
}

/// `#/definitions/NAME` or its like, taken apart.
fn parts(reference: &str) -> Option<(&'static str, &str)> {
    let (section, name) = reference.strip_prefix("#/")?.split_once('/')?;
    SECTIONS.into_iter().find(|known| *known == section).map(|section| (section, name))
}

fn lookup<'a>(document: &'a Value, reference: &str) -> Option<&'a Value> {
    let (section, name) = parts(reference)?;
    document.get(section)?.get(name)
}

fn insert(document: &mut Value, reference: &str, meant: Value) {
    let Some((section, name)) = parts(reference) else { return };
    if !document[section].is_object() {
        document[section] = Value::Object(Map::new());
    }
    document[section][name] = meant;
}

/// Everything that `value` refers to, directly or not.
fn gather(value: &Value, document: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str)
                && let Some(meant) = lookup(document, reference)
                && found.insert(reference.to_owned())
            {
                gather(meant, document, found);
            }
            fields.values().for_each(|field| gather(field, document, found));
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, document, found)),
        _ => {}
    }
}

/// The reference itself where ours has nothing else of that name, else one with a number.
fn name_among(ours: &Value, theirs: &Value, reference: &str) -> String {
    let meant = lookup(theirs, reference);
    let is_free = |name: &String| lookup(ours, name).is_none_or(|taken| Some(taken) == meant);
    let numbered = (2..).map(|number| format!("{reference}_v{number}"));
    std::iter::once(reference.to_owned()).chain(numbered).find(is_free).unwrap_or_default()
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref")
                && let Some(name) = names.get(reference)
            {
                reference.clone_from(name);
            }
            fields.values_mut().for_each(|field| rename(field, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_bring_what_they_refer_to() {
        let reference = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
        let mut ours =
            json!({"paths": {"/api": {}}, "definitions": {"Same": {"type": "string"}, "Meta": {"type": "object"}}});
        let theirs = json!({
            "paths": {"/apis/g/v1/things": {"get": reference("Thing")}, "/apis/g/v10": {"get": reference("Other")}},
            "definitions": {
                "Thing": {"properties": {"meta": reference("Meta"), "same": reference("Same"), "thing": reference("Thing")}},
                "Meta": {"type": "string"}, "Same": {"type": "string"}, "Other": {},
            },
        });
        add(&mut ours, &theirs, "/apis/g/v1");
        assert_eq!(
            ours,
            json!({
                "paths": {"/api": {}, "/apis/g/v1/things": {"get": reference("Thing")}},
                "definitions": {
                    "Same": {"type": "string"}, "Meta": {"type": "object"}, "Meta_v2": {"type": "string"},
                    "Thing": {"properties": {
                        "meta": reference("Meta_v2"), "same": reference("Same"), "thing": reference("Thing"),
                    }},
                },
            })
        );
    }
}
