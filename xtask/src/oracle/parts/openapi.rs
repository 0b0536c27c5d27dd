//! The published schemas, field by field, and the operations, parameter by parameter.

use anyhow::Result;
use orlop_api::Value;

use super::super::exchange::Ask;
use super::super::judge::Judge;

pub async fn run(judge: &Judge<'_>) -> Result<()> {
    let ask = Ask::get("/openapi/v2");
    let (mut upstream, mut orlop) = judge.both(&ask, &ask).await?;
    for answer in [&mut upstream, &mut orlop] {
        let parameters = answer.body["parameters"].take();
        in_place(&mut answer.body, &parameters);
        plain(&mut answer.body);
    }
    judge.note("openapi v2", "/openapi/v2", &ask, &upstream, &orlop);
    let ask = Ask::get("/openapi/v3");
    let (mut upstream, mut orlop) = judge.both(&ask, &ask).await?;
    let paths: Vec<String> = upstream.body["paths"].as_object().into_iter().flatten().map(|(k, _)| k.clone()).collect();
    for answer in [&mut upstream, &mut orlop] {
        without_hashes(&mut answer.body);
    }
    judge.note("openapi v3", "/openapi/v3", &ask, &upstream, &orlop);
    for path in paths {
        let ask = Ask::get(format!("/openapi/v3/{path}"));
        let (mut upstream, mut orlop) = judge.both(&ask, &ask).await?;
        plain(&mut upstream.body);
        plain(&mut orlop.body);
        judge.note("openapi v3", &path, &ask, &upstream, &orlop);
    }
    Ok(())
}

/// Without what says the same in other words: prose, which is compared for being there, and the order of
/// sets.
fn plain(document: &mut Value) {
    match document {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), &mut *value) {
                    ("description", Value::String(_)) => *value = "<prose>".into(),
                    ("required" | "produces" | "consumes", Value::Array(set)) => set.sort_by_key(Value::to_string),
                    _ => plain(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

/// Upstream writes a parameter that many operations share once, and refers to it.
fn in_place(document: &mut Value, parameters: &Value) {
    let shared = document.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix("#/parameters/"));
    if let Some(parameter) = shared.and_then(|name| parameters.get(name)) {
        *document = parameter.clone();
        return;
    }
    match document {
        Value::Object(fields) => fields.values_mut().for_each(|value| in_place(value, parameters)),
        Value::Array(items) => items.iter_mut().for_each(|item| in_place(item, parameters)),
        _ => {}
    }
}

/// Documents that differ have other hashes, and their differences are told elsewhere.
fn without_hashes(index: &mut Value) {
    for (_, entry) in index["paths"].as_object_mut().into_iter().flatten() {
        if let Some(Value::String(url)) = entry.get_mut("serverRelativeURL") {
            url.truncate(url.find("?hash=").unwrap_or(url.len()));
        }
    }
}
