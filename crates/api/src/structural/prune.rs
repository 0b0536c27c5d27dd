//! Removes what a schema does not know (`apiserver/schema/pruning`, `objectmeta/coerce.go`).

use serde_json::{Map, Value};

use super::{Additional, Schema, is_meta};
use crate::codec::json;
use crate::schema::{ObjectType, Type};

/// Paths of fields that are kept for reports; more are dropped in silence.
const MAX_REPORTED: usize = 100;

/// Prunes a whole object and reads every `metadata` in it as upstream's type would. Returns the paths of what went,
/// sorted; an error where the object's own metadata is not even of the right types.
pub fn object(value: &mut Value, schema: &Schema) -> Result<Vec<String>, String> {
    let mut gone = Gone::default();
    let Value::Object(fields) = value else { return Ok(Vec::new()) };
    if let Some(metadata) = fields.get_mut("metadata") {
        coerce(metadata, "metadata", &mut gone)?;
    }
    root(fields, schema, &mut gone);
    gone.paths.sort();
    Ok(gone.paths)
}

/// The same of stored objects: what is malformed goes too.
pub fn stored(value: &mut Value, schema: &Schema) {
    if let Value::Object(fields) = value {
        root(fields, schema, &mut Gone::default());
    }
}

#[derive(Default)]
struct Gone {
    paths: Vec<String>,
}

impl Gone {
    fn report(&mut self, path: String) {
        if self.paths.len() < MAX_REPORTED {
            self.paths.push(path);
        }
    }
}

fn root(fields: &mut Map<String, Value>, schema: &Schema, gone: &mut Gone) {
    members(fields, schema, "", true, schema.preserve_unknown, gone);
}

/// `metadata` as a typed client would read it; unknown fields go.
fn coerce(metadata: &mut Value, path: &str, gone: &mut Gone) -> Result<(), String> {
    let ty = object_meta();
    if metadata.is_null() {
        return Ok(());
    }
    let bytes = json::encode(metadata);
    let (read, reports) = json::decode(&bytes, Some(ty), json::FieldValidation::Warn).map_err(|error| error.message)?;
    for report in reports {
        let field = report.strip_prefix("unknown field \"").and_then(|rest| rest.strip_suffix('"'));
        gone.report(format!("{path}.{}", field.unwrap_or_default()));
    }
    *metadata = read;
    Ok(())
}

fn object_meta() -> &'static ObjectType {
    let name = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let builtin = crate::schema::builtin();
    &builtin.types[usize::from(*builtin.by_name.get(name).expect("ObjectMeta stands in the table"))]
}

/// The type of `metadata`, for field tables.
pub(super) fn metadata_type() -> Type {
    let name = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    Type::Object(crate::schema::builtin().named(name).expect("ObjectMeta stands in the table"))
}

fn members(
    fields: &mut Map<String, Value>,
    schema: &Schema,
    path: &str,
    embedded: bool,
    preserve: bool,
    gone: &mut Gone,
) {
    let whole = embedded || schema.embedded;
    fields.retain(|name, value| {
        if whole && is_meta(name) {
            return true;
        }
        let below = || join(path, name);
        if let Some(property) = schema.properties.get(name) {
            prune(value, Some(property), &below(), gone);
        } else if let Some(additional) = &schema.additional_properties {
            match additional {
                Additional::Schema(schema) => prune(value, Some(schema), &below(), gone),
                Additional::Any(_) if !preserve => prune(value, None, &below(), gone),
                Additional::Any(_) => {}
            }
        } else if !preserve {
            gone.report(below());
            return false;
        }
        true
    });
    if schema.embedded
        && !path.is_empty()
        && let Some(metadata) = fields.get_mut("metadata")
    {
        // What cannot be read is left for validation to refuse.
        let _ = coerce(metadata, &join(path, "metadata"), gone);
    }
}

/// `None` knows no field at all.
fn prune(value: &mut Value, schema: Option<&Schema>, path: &str, gone: &mut Gone) {
    match (value, schema) {
        (Value::Object(fields), Some(schema)) => members(fields, schema, path, false, schema.preserve_unknown, gone),
        (Value::Object(fields), None) => {
            fields.keys().for_each(|name| gone.report(join(path, name)));
            fields.clear();
        }
        (Value::Array(items), schema) => {
            if schema.is_some_and(|schema| schema.preserve_unknown && schema.items.is_none()) {
                return;
            }
            let of_items = schema.and_then(|schema| schema.items.as_deref());
            for (index, item) in items.iter_mut().enumerate() {
                prune(item, of_items, &format!("{path}[{index}]"), gone);
            }
        }
        _ => {}
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
