//! What a mutating policy's expressions give: a configuration to apply, or a JSON patch
//! (`k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch`, `k8s.io/apiserver/pkg/cel/mutation`).

use std::sync::Arc;

use orlop_api::Value as Json;
use orlop_cel::env::Types;
use orlop_cel::types::Type;
use orlop_cel::value::{Object, Result as CelResult, Value, fail};
use serde_json::{Map, json};

/// `Object`, `Object.spec`, ... with any fields, and `JSONPatch`.
pub struct PatchTypes;

pub const OBJECT: &str = "Object";
pub const JSON_PATCH: &str = "JSONPatch";

impl Types for PatchTypes {
    fn has(&self, name: &str) -> bool {
        name == JSON_PATCH || name == OBJECT || name.starts_with("Object.")
    }

    fn field(&self, object: &str, field: &str) -> Option<Type> {
        if object != JSON_PATCH {
            return Some(Type::Dyn);
        }
        match field {
            "op" | "from" | "path" => Some(Type::String),
            "value" => Some(Type::Dyn),
            _ => None,
        }
    }

    fn check_object(&self, name: &str, fields: &[(Arc<str>, Value<'_>)]) -> CelResult<()> {
        if name != JSON_PATCH {
            return Ok(());
        }
        for (field, value) in fields {
            if matches!(&**field, "op" | "from" | "path") && value.as_str().is_none() {
                let t = value.type_name();
                return fail(format!("unexpected type {t} for JSONPatchType '{field}' field"));
            }
        }
        Ok(())
    }
}

/// The object an `ApplyConfiguration` gives, as JSON.
pub fn configuration(value: &Value<'_>) -> Result<Json, String> {
    let Value::Object(object) = value else {
        return Err(format!("unsupported return type from ApplyConfiguration expression: {}", value.type_name()));
    };
    check_names(object, OBJECT).map_err(|why| format!("type mismatch: {why}"))?;
    value.to_json().map_err(|error| error.to_string())
}

/// The operations of a `JSONPatch` expression.
pub fn operations(value: &Value<'_>) -> Result<Json, String> {
    let Value::List(list) = value else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array".to_owned());
    };
    list.iter().map(|item| operation(&item)).collect::<Result<Vec<_>, _>>().map(Json::Array)
}

fn operation(value: &Value<'_>) -> Result<Json, String> {
    let object = match value {
        Value::Object(object) if *object.type_name == *JSON_PATCH => object,
        other => {
            let t = other.type_name();
            return Err(format!(
                "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch, got element of {t}"
            ));
        }
    };
    let mut operation = Map::new();
    for (field, value) in &object.fields {
        if let Value::Object(made) = value {
            check_names(made, &made.type_name).map_err(|why| format!("type mismatch: {why}"))?;
        }
        let json = value.to_json().map_err(|error| {
            format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {error}")
        })?;
        operation.insert(field.to_string(), json);
    }
    for field in ["op", "path"] {
        operation.entry(field).or_insert_with(|| json!(""));
    }
    Ok(Json::Object(operation))
}

/// An object at `spec.template` of an `Object` is an `Object.spec.template`.
fn check_names(object: &Object<'_>, expected: &str) -> Result<(), String> {
    if *object.type_name != *expected {
        let found = &object.type_name;
        return Err(format!(
            "unexpected type name {found:?}, expected {expected:?}, which matches field name path from root Object type"
        ));
    }
    object.fields.iter().try_for_each(|(name, value)| check_value(value, &format!("{expected}.{name}")))
}

fn check_value(value: &Value<'_>, expected: &str) -> Result<(), String> {
    match value {
        Value::Object(object) => check_names(object, expected),
        Value::List(list) => list.iter().try_for_each(|item| check_value(&item, expected)),
        Value::Map(map) => {
            let entries = map.entries().unwrap_or_default();
            entries.iter().try_for_each(|(_, value)| check_value(value, expected))
        }
        _ => Ok(()),
    }
}
