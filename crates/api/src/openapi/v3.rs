//! OpenAPI v3: one document per group and version, and the index that names them.

use serde_json::{Map, Value, json};

use super::descriptions::Descriptions;
use super::operations::{self, Answer, Operation, Paths};
use super::parameters::Common;
use super::schemas::{Flavor, Schemas};
use super::{MEDIA_TYPES, custom, info, roots, security_schemes};
use crate::kind::Kind;

/// The document of one group and version (`v1`, `apps/v1`) with these kinds.
pub fn document(group_version: &str, kinds: &[&dyn Kind]) -> Value {
    let descriptions = Descriptions::load();
    let common = Common::new(&descriptions);
    let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
    let mut paths = Paths::new();
    let mut schemas = Schemas::new(Flavor::V3, &descriptions).within(group, version);
    operations::add_discovery(&mut paths, group, version);
    for kind in kinds {
        operations::add(&mut paths, *kind, version, &common, &descriptions);
        custom::add(&mut schemas, *kind, version);
    }
    whole(paths, schemas)
}

/// The document of a place that is no group and version (`version`, `apis/apps`); nothing where there is none.
pub fn root_document(path: &str) -> Option<Value> {
    let descriptions = Descriptions::load();
    let mut paths = Paths::new();
    roots::add(&mut paths, path)?;
    Some(whole(paths, Schemas::new(Flavor::V3, &descriptions)))
}

fn whole(paths: Paths, mut schemas: Schemas<'_>) -> Value {
    paths.values().flat_map(|p| p.values()).flat_map(operations::schemas_of).for_each(|name| schemas.add(name));
    let paths: Map<String, Value> = paths.into_iter().map(|(path, ops)| (path, path_item(&ops))).collect();
    let mut document = json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths,
        "components": { "securitySchemes": security_schemes() },
    });
    let schemas = schemas.finish();
    if !schemas.is_empty() {
        document["components"]["schemas"] = schemas.into();
    }
    document
}

fn path_item(operations: &std::collections::BTreeMap<&'static str, Operation>) -> Value {
    let shared = operations::shared_parameters(operations);
    let mut item: Map<String, Value> = operations
        .iter()
        .map(|(method, operation)| {
            let own = operation.parameters.iter().filter(|p| !shared.contains(p)).map(|p| p.render(Flavor::V3));
            ((*method).to_owned(), render(operation, own.collect()))
        })
        .collect();
    if !shared.is_empty() {
        item.insert("parameters".into(), shared.iter().map(|p| p.render(Flavor::V3)).collect());
    }
    Value::Object(item)
}

fn render(operation: &Operation, parameters: Vec<Value>) -> Value {
    let mut rendered = json!({
        "operationId": operation.id,
        "description": operation.description,
        "tags": [operation.tag],
        "responses": responses(operation),
    });
    if !parameters.is_empty() {
        rendered["parameters"] = parameters.into();
    }
    if let Some(body) = &operation.body {
        let content = content(body.media_types, &Flavor::V3.reference(&body.schema));
        rendered["requestBody"] =
            if body.required { json!({ "content": content, "required": true }) } else { json!({ "content": content }) };
    }
    if let Some(kind) = &operation.kind {
        rendered["x-kubernetes-action"] = operation.action.into();
        rendered["x-kubernetes-group-version-kind"] =
            json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
    }
    rendered
}

fn responses(operation: &Operation) -> Value {
    let content = match &operation.answer {
        Answer::Schema(name) => content(&MEDIA_TYPES, &Flavor::V3.reference(name)),
        Answer::Watchable(name) => {
            let streams = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
            let media_types: Vec<&str> = MEDIA_TYPES.into_iter().chain(streams).collect();
            self::content(&media_types, &Flavor::V3.reference(name))
        }
        Answer::Only(media_type, Some(name)) => content(&[*media_type], &Flavor::V3.reference(name)),
        Answer::Only(media_type, None) => content(&[*media_type], &json!({ "type": "string" })),
        Answer::Anything => content(&["*/*"], &json!({ "type": "string" })),
        Answer::Text => {
            let media_types: Vec<&str> = MEDIA_TYPES.into_iter().chain(["text/plain"]).collect();
            self::content(&media_types, &json!({ "type": "string" }))
        }
    };
    let mut responses =
        json!({ "200": { "description": "OK", "content": content }, "401": { "description": "Unauthorized" } });
    for code in operation.also {
        let description = if *code == 201 { "Created" } else { "Accepted" };
        responses[code.to_string()] = json!({ "description": description, "content": content });
    }
    responses
}

fn content(media_types: &[&str], schema: &Value) -> Value {
    media_types.iter().map(|media_type| ((*media_type).to_owned(), json!({ "schema": schema }))).collect()
}

/// Where a group and version is found under `/openapi/v3`: `api/v1`, `apis/apps/v1`.
pub fn path_of(group_version: &str) -> String {
    if group_version.contains('/') { format!("apis/{group_version}") } else { format!("api/{group_version}") }
}

/// The answer to `/openapi/v3`: documents by path, each with the hash of its bytes.
pub fn index<'a>(documents: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    let paths: Map<String, Value> = documents
        .map(|(path, hash)| {
            (path.to_owned(), json!({ "serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}") }))
        })
        .collect();
    json!({ "paths": paths })
}
