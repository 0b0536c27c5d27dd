//! YAML as Kubernetes has it: go-yaml's version 1.1 rules on the way in (`yes` is true, `0644` is 420), and
//! `sigs.k8s.io/yaml`'s layout on the way out (sorted keys, lists not indented, long lines folded).

mod read;
mod scalar;
mod style;
mod tree;
mod write;

pub use read::{YamlError, documents, from_yaml, from_yaml_all};
pub use write::to_yaml;

use serde_json::Value;

use crate::codec::json::{self, FieldValidation, Origin};
use crate::schema::ObjectType;
use crate::status::StatusError;

/// Reads one object from YAML (or JSON, which is YAML) as [`json::decode`] does from JSON.
pub fn decode(
    bytes: &[u8],
    schema: Option<&ObjectType>,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), StatusError> {
    let (value, duplicates) = read::from_yaml_reporting(bytes).map_err(|error| {
        let text = error.to_string();
        StatusError::bad_request(
            schema.map_or_else(|| text.clone(), |schema| json::unrecognized(schema.short_name(), &text, bytes)),
        )
    })?;
    json::decode_from(Origin::Json, &json::encode(&value), schema, validation, duplicates)
}
