//! Strategic merge patch: a merge patch that knows which lists have keys.
//!
//! Follows `k8s.io/apimachinery/pkg/util/strategicpatch` as the server runs it. Which lists merge,
//! and by which key, is read from the schema alone. Directives a patch may carry:
//! `$patch: delete|replace` in an object, `$setElementOrder/<list>`,
//! `$deleteFromPrimitiveList/<list>`, `$retainKeys`.

mod list;
mod schema;

use serde_json::{Map, Value, json};

use super::go_format::{go_format, go_type};
use super::merge::drop_nulls;
use crate::schema::ObjectType;
use crate::status::StatusError;
use list::merge_list;
use schema::Scope;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList";
const SET_ELEMENT_ORDER: &str = "$setElementOrder";

/// Why a patch cannot be merged, in upstream's words.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum Error {
    #[error("invalid JSON document")]
    Document,
    #[error("lists of lists are not supported")]
    ListOfLists,
    #[error("invalid patch format of primitive list")]
    PrimitiveList,
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    #[error("invalid patch format of setElementOrder list")]
    SetElementOrder,
    #[error("{0}")]
    Other(String),
}

impl Error {
    fn no_merge_key(item: &Map<String, Value>, key: &str) -> Self {
        let item = go_format(&Value::Object(item.clone()));
        Self::Other(format!("map: {item} does not contain declared merge key: {key}"))
    }

    fn bad_type(expected: &str, actual: &Value) -> Self {
        let actual = if actual.is_null() { NO_TEXT } else { go_type(actual) };
        Self::Other(format!("expected a {expected}, but received a {actual}"))
    }

    fn bad_directive(directive: &Value, object: &Map<String, Value>) -> Self {
        let object = go_format(&Value::Object(object.clone()));
        let directive = match directive {
            Value::Null => NO_TEXT.to_owned(),
            // A text was expected, and Go says so.
            Value::Bool(_) | Value::Number(_) => format!("%!s({}={directive})", go_type(directive)),
            _ => go_format(directive),
        };
        Self::Other(format!("unknown patch type: {directive} in map: {object}"))
    }
}

/// What Go prints for a null where it was to print a text.
const NO_TEXT: &str = "%!s(<nil>)";
const LIST: &str = "[]interface {}";
const OBJECT: &str = "map[string]interface {}";

impl From<Error> for StatusError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Document | Error::PrimitiveList | Error::RetainKeys | Error::SetElementOrder => {
                Self::bad_request(text)
            }
            Error::ListOfLists => {
                Self::new(422, "Invalid", "the server rejected our request due to an error in our request")
                    .with_details(json!({}))
            }
            Error::Other(_) => Self::new(500, "", text),
        }
    }
}

/// Merges `patch` into `current`, an object of type `schema`.
pub fn apply(current: Value, patch: Value, schema: &ObjectType) -> Result<Value, StatusError> {
    let (Value::Object(current), Value::Object(patch)) = (current, patch) else {
        return Err(Error::Document.into());
    };
    Ok(Value::Object(merge_object(current, patch, Scope::Struct(schema))?))
}

type Object = Map<String, Value>;

fn merge_object(mut original: Object, mut patch: Object, scope: Scope<'_>) -> Result<Object, Error> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                patch.remove(DIRECTIVE);
                Ok(patch)
            }
            Some("delete") => Ok(Object::new()),
            _ => Err(Error::bad_directive(directive, &patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    list::merge_ordered_lists(&mut original, &mut patch, scope)?;
    for (key, value) in patch {
        merge_field(&mut original, &key, value, scope)?;
    }
    Ok(original)
}

fn merge_field(original: &mut Object, key: &str, value: Value, scope: Scope<'_>) -> Result<(), Error> {
    let deletes = key.starts_with(DELETE_FROM_PRIMITIVE_LIST);
    let key = if deletes { directed_field(key, DELETE_FROM_PRIMITIVE_LIST).ok_or(Error::PrimitiveList)? } else { key };
    if value.is_null() {
        original.remove(key);
        return Ok(());
    }
    let merged = match (original.get_mut(key).map(Value::take), value) {
        (None, _) if deletes => return Ok(()),
        (Some(Value::Object(current)), Value::Object(patch)) => {
            let (scope, strategy) = scope.object(key)?;
            Some(Value::Object(if strategy.replace { patch } else { merge_object(current, patch, scope)? }))
        }
        (Some(Value::Array(current)), Value::Array(patch)) => {
            let (scope, strategy) = scope.list(key)?;
            let merges = strategy.merge || deletes;
            let merge_key = strategy.merge_key.as_deref();
            Some(Value::Array(if merges { merge_list(current, patch, scope, merge_key, deletes)? } else { patch }))
        }
        (Some(current), _) if deletes => Some(current),
        (_, mut patch) => {
            drop_nulls(&mut patch);
            without_directives(patch)
        }
    };
    match merged {
        Some(merged) => original.insert(key.to_owned(), merged),
        None => original.remove(key),
    };
    Ok(())
}

/// `$retainKeys` names all fields that may remain; the patch may set none besides.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), Error> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let keys = keys.as_array().ok_or(Error::RetainKeys)?;
    let retained = |key: &str| keys.iter().any(|retained| retained == key);
    let directive = |key: &str| key.starts_with(DELETE_FROM_PRIMITIVE_LIST) || key.starts_with(SET_ELEMENT_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !directive(key) && !retained(key)) {
        return Err(Error::RetainKeys);
    }
    original.retain(|key, _| retained(key));
    Ok(())
}

/// `containers` of `$setElementOrder/containers`.
fn directed_field<'a>(key: &'a str, prefix: &str) -> Option<&'a str> {
    key.split_once('/').filter(|(directive, _)| *directive == prefix).map(|(_, field)| field)
}

/// A value that had nothing to merge with: objects that are directives vanish.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(DIRECTIVE) => None,
        Value::Object(fields) => {
            let kept = fields.into_iter().filter_map(|(key, value)| Some((key, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(items.into_iter().filter_map(without_directives).collect()),
        scalar => Some(scalar),
    }
}
