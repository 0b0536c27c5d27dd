//! JSON Patch (RFC 6902) with the liberties of `gopkg.in/evanphx/json-patch.v4`, which the API server
//! uses: negative indices count from the end, `replace` of an absent member adds it, `copy` of an
//! absent member copies null, and null is as good as absent to `test`.

use serde_json::{Map, Value, json};

use crate::status::StatusError;

/// Upstream's `maxJSONPatchOperations`.
const MAX_OPERATIONS: usize = 10_000;

/// What all `copy` operations of one patch may add up to, as JSON (`JSONPatchMaxCopyBytes`).
const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

/// Applies `patch`, a list of operations. An operation that does not apply (a failed `test`, too)
/// is 422; upstream keeps the reason to itself. `validated`: fields were asked to be looked at.
pub fn apply(mut current: Value, patch: &Value, validated: bool) -> Result<Value, StatusError> {
    let operations = operations(patch, validated)?;
    if operations.len() > MAX_OPERATIONS {
        let count = operations.len();
        return Err(StatusError::too_large(format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        )));
    }
    let mut copied_bytes = 0;
    for operation in operations {
        run(&mut current, operation, &mut copied_bytes).ok_or_else(does_not_apply)?;
    }
    Ok(current)
}

/// Members of operations that no operation has, as strict field validation reports them.
pub fn unknown_fields(patch: &Value) -> Vec<String> {
    let known = |field: &str| ["op", "path", "from", "value"].iter().any(|known| known.eq_ignore_ascii_case(field));
    let operations = patch.as_array().into_iter().flatten().enumerate();
    operations
        .filter_map(|(i, operation)| Some((i, operation.as_object()?)))
        .flat_map(|(i, operation)| operation.keys().filter(|field| !known(field)).map(move |field| (i, field)))
        .map(|(i, field)| format!("json patch unknown field \"[{i}].{field}\""))
        .collect()
}

fn operations(patch: &Value, validated: bool) -> Result<&Vec<Value>, StatusError> {
    let go_type = |value: &Value| match value {
        Value::Object(_) => "object",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Null | Value::Array(_) => "array",
    };
    // Upstream's own type comes before that of the library.
    let (before, list, item) = if validated {
        ("error decoding patch: ", "[]handlers.jsonPatchOp", "handlers.jsonPatchOp")
    } else {
        ("", "jsonpatch.Patch", "jsonpatch.Operation")
    };
    let wrong = |value: &Value, into: &str| {
        let text = format!("{before}json: cannot unmarshal {} into Go value of type {into}", go_type(value));
        StatusError::bad_request(text)
    };
    let operations = patch.as_array().ok_or_else(|| wrong(patch, list))?;
    match operations.iter().find(|operation| !operation.is_object()) {
        Some(operation) => Err(wrong(operation, item)),
        None => Ok(operations),
    }
}

fn does_not_apply() -> StatusError {
    StatusError::new(422, "Invalid", "the server rejected our request due to an error in our request")
        .with_details(json!({}))
}

/// `None` when the operation does not apply.
fn run(doc: &mut Value, operation: &Value, copied_bytes: &mut usize) -> Option<()> {
    let path = operation["path"].as_str();
    let value = || operation["value"].clone();
    match operation["op"].as_str()? {
        "add" => Place::of(doc, path?)?.add(value()),
        "remove" => Place::of(doc, path?)?.remove().map(drop),
        "replace" if path?.is_empty() => {
            let whole = value();
            (whole.is_object() || whole.is_array()).then(|| *doc = whole)
        }
        "replace" => Place::of(doc, path?)?.replace(value()),
        "move" => {
            let moved = Place::of(doc, operation["from"].as_str()?)?.remove()?;
            Place::of(doc, path?)?.add(moved)
        }
        "copy" => {
            let copy = Place::of(doc, operation["from"].as_str()?)?.get()?.clone();
            *copied_bytes += copy.to_string().len();
            if *copied_bytes > MAX_COPIED_BYTES {
                return None;
            }
            Place::of(doc, path?)?.add(copy)
        }
        "test" if path?.is_empty() => (*doc == operation["value"]).then_some(()),
        "test" => {
            let place = Place::of(doc, path?)?;
            (*place.get()? == operation["value"]).then_some(())
        }
        _ => None,
    }
}

/// Where a pointer points: a member or an item of a container that is there.
enum Place<'a> {
    Member(&'a mut Map<String, Value>, String),
    Item(&'a mut Vec<Value>, String),
}

impl<'a> Place<'a> {
    /// Walks the JSON Pointer (RFC 6901) up to its last token. What stands before the first slash is
    /// not looked at.
    fn of(doc: &'a mut Value, pointer: &str) -> Option<Self> {
        let (_, pointer) = pointer.split_once('/')?;
        let (parents, last) = pointer.rsplit_once('/').map_or((None, pointer), |(parents, last)| (Some(parents), last));
        let mut container = doc;
        for token in parents.into_iter().flat_map(|parents| parents.split('/')) {
            let token = unescape(token);
            container = match container {
                Value::Object(fields) => fields.get_mut(&token)?,
                Value::Array(items) => {
                    let i = index(&token, items.len())?;
                    items.get_mut(i)?
                }
                _ => return None,
            };
        }
        match container {
            Value::Object(fields) => Some(Self::Member(fields, unescape(last))),
            Value::Array(items) => Some(Self::Item(items, unescape(last))),
            _ => None,
        }
    }

    /// Null for a member that is not there.
    fn get(&self) -> Option<&Value> {
        match self {
            Self::Member(fields, key) => Some(fields.get(key).unwrap_or(&Value::Null)),
            Self::Item(items, key) => items.get(index(key, items.len())?),
        }
    }

    fn add(self, value: Value) -> Option<()> {
        match self {
            Self::Member(fields, key) => {
                fields.insert(key, value);
            }
            Self::Item(items, key) if key == "-" => items.push(value),
            Self::Item(items, key) => {
                // One more place than there are items.
                let at = index(&key, items.len() + 1).filter(|at| *at <= items.len())?;
                items.insert(at, value);
            }
        }
        Some(())
    }

    fn replace(self, value: Value) -> Option<()> {
        match self {
            Self::Member(fields, key) => {
                fields.insert(key, value);
            }
            Self::Item(items, key) => {
                let at = index(&key, items.len())?;
                *items.get_mut(at)? = value;
            }
        }
        Some(())
    }

    fn remove(self) -> Option<Value> {
        match self {
            Self::Member(fields, key) => fields.remove(&key),
            Self::Item(items, key) => {
                let at = index(&key, items.len()).filter(|at| *at < items.len())?;
                Some(items.remove(at))
            }
        }
    }
}

/// An index into `len` places; negative ones count from the end. May lie past the end.
fn index(token: &str, len: usize) -> Option<usize> {
    let index: i64 = token.parse().ok()?;
    if index < 0 { len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?) } else { usize::try_from(index).ok() }
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}
