//! OpenAPI v3: one document per group and version, and the index that names them.

use serde_json::{Map, Value, json};

use crate::kind::Kind;

/// The document of one group and version (`v1`, `apps/v1`) with these kinds.
pub fn document(group_version: &str, _kinds: &[&dyn Kind]) -> Value {
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": "v1.37.0" },
        "paths": {}, "components": { "schemas": {} }, "x-orlop-group-version": group_version,
    })
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
