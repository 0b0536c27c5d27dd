//! OpenAPI v2 (Swagger): one document for everything served.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::descriptions::Descriptions;
use super::operations::{self, Answer, Operation, Paths};
use super::parameters::Common;
use super::schemas::{Flavor, Schemas};
use super::{MEDIA_TYPES, custom, info, roots, security_schemes};
use crate::kind::Kind;

/// The document with all these kinds, each in one of the versions it serves.
pub fn document(kinds: &[(&dyn Kind, &str)]) -> Value {
    let descriptions = Descriptions::load();
    let common = Common::new(&descriptions);
    let mut paths = Paths::new();
    let mut schemas = Schemas::new(Flavor::V2, &descriptions);
    let groups: BTreeSet<&str> = kinds.iter().map(|(kind, _)| &*kind.info().group).filter(|g| !g.is_empty()).collect();
    for path in roots::FIXED.into_iter().map(str::to_owned).chain(groups.iter().map(|group| format!("apis/{group}"))) {
        roots::add(&mut paths, &path);
    }
    for (kind, version) in kinds {
        operations::add_discovery(&mut paths, &kind.info().group, version);
        operations::add(&mut paths, *kind, version, &common, &descriptions);
        custom::add(&mut schemas, *kind, version);
    }
    paths.values().flat_map(|p| p.values()).flat_map(operations::schemas_of).for_each(|name| schemas.add(name));
    let paths: Map<String, Value> = paths.into_iter().map(|(path, ops)| (path, path_item(&ops))).collect();
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths,
        "definitions": schemas.finish(),
        "securityDefinitions": security_schemes(),
        "security": [{ "BearerToken": [] }],
    })
}

fn path_item(operations: &BTreeMap<&'static str, Operation>) -> Value {
    let shared = operations::shared_parameters(operations);
    let mut item: Map<String, Value> = operations
        .iter()
        .map(|(method, operation)| {
            let own = operation.parameters.iter().filter(|p| !shared.contains(p)).map(|p| p.render(Flavor::V2));
            ((*method).to_owned(), render(operation, own.collect()))
        })
        .collect();
    if !shared.is_empty() {
        item.insert("parameters".into(), shared.iter().map(|p| p.render(Flavor::V2)).collect());
    }
    Value::Object(item)
}

fn render(operation: &Operation, mut parameters: Vec<Value>) -> Value {
    let (produces, schema) = answer(operation);
    let mut consumes: &[&str] = match operation.answer {
        _ if operation.kind.is_some() => &["*/*"],
        Answer::Only(_, None) => &[],
        _ => &produces,
    };
    if let Some(body) = &operation.body {
        consumes = body.media_types;
        let mut parameter = json!({ "name": "body", "in": "body", "schema": Flavor::V2.reference(&body.schema) });
        if body.required {
            parameter["required"] = true.into();
        }
        parameters.insert(0, parameter);
    }
    let mut responses =
        json!({ "200": { "description": "OK", "schema": schema }, "401": { "description": "Unauthorized" } });
    for code in operation.also {
        let description = if *code == 201 { "Created" } else { "Accepted" };
        responses[code.to_string()] = json!({ "description": description, "schema": schema });
    }
    let mut rendered = json!({
        "operationId": operation.id,
        "description": operation.description,
        "tags": [operation.tag],
        "schemes": ["https"],
        "produces": produces,
        "responses": responses,
    });
    if !consumes.is_empty() {
        rendered["consumes"] = consumes.into();
    }
    if !parameters.is_empty() {
        rendered["parameters"] = parameters.into();
    }
    if let Some(kind) = &operation.kind {
        rendered["x-kubernetes-action"] = operation.action.into();
        rendered["x-kubernetes-group-version-kind"] =
            json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
    }
    rendered
}

fn answer(operation: &Operation) -> (Vec<&'static str>, Value) {
    let mut produces = MEDIA_TYPES.to_vec();
    let schema = match &operation.answer {
        Answer::Schema(name) => Flavor::V2.reference(name),
        Answer::Watchable(name) => {
            produces.extend(["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"]);
            Flavor::V2.reference(name)
        }
        Answer::Anything => {
            produces = vec!["*/*"];
            json!({ "type": "string" })
        }
        Answer::Only(media_type, name) => {
            produces = vec![media_type];
            name.as_ref().map_or_else(|| json!({ "type": "string" }), |name| Flavor::V2.reference(name))
        }
        Answer::Text => {
            produces.push("text/plain");
            json!({ "type": "string" })
        }
    };
    (produces, schema)
}
