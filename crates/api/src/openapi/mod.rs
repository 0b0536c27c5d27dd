//! OpenAPI documents, generated from the field tables and the list of kinds.
//!
//! [`v3::document`] describes one group and version, [`v2::document`] everything at once. A document is built
//! when first asked for, which takes some milliseconds; the server caches its bytes by their ETag.

pub mod gnostic;
pub mod v2;
pub mod v3;

mod custom;
pub(crate) mod descriptions;
mod names;
mod operations;
mod parameters;
pub mod roots;
mod schemas;

pub(crate) use descriptions::Descriptions;

use serde_json::{Value, json};

/// What is answered besides errors; protobuf only where a built-in type is behind it.
const MEDIA_TYPES: [&str; 3] = ["application/json", "application/vnd.kubernetes.protobuf", "application/yaml"];

fn info() -> Value {
    json!({ "title": "Kubernetes", "version": "1.37" })
}

/// How requests prove who they are, under the name that both versions refer to.
fn security_schemes() -> Value {
    json!({ "BearerToken": {
        "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication",
    } })
}
