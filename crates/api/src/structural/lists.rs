//! What must hold beyond single values: sets have no item twice, keyed lists no key, embedded objects say what they
//! are (`apiserver/schema/listtype`, `apiserver/schema/objectmeta`).

use serde_json::{Map, Value};

use super::Schema;
use crate::field::{ErrorList, Path};
use crate::names;

/// Items that stand twice in sets, keys that stand twice in keyed lists.
pub fn unique(value: &Value, schema: &Schema) -> ErrorList {
    let mut errors = ErrorList::default();
    walk(value, schema, "", &mut |value, schema, path| {
        let Value::Array(items) = value else { return };
        match schema.list_type.as_str() {
            "set" => repeats(items, path, &mut errors),
            "map" => keys(items, schema, path, &mut errors),
            _ => {}
        }
    });
    errors
}

/// `apiVersion`, `kind` and `metadata` of objects within the object.
pub fn embedded(value: &Value, schema: &Schema) -> ErrorList {
    let mut errors = ErrorList::default();
    walk(value, schema, "", &mut |value, schema, path| {
        if let Value::Object(fields) = value
            && schema.embedded
        {
            of_embedded(fields, path, &mut errors);
        }
    });
    errors
}

fn walk(value: &Value, schema: &Schema, path: &str, visit: &mut dyn FnMut(&Value, &Schema, &str)) {
    visit(value, schema, path);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let property = schema.properties.get(name);
                let below = match (property, path) {
                    (Some(_), "") => name.clone(),
                    (Some(_), path) => format!("{path}.{name}"),
                    (None, path) => format!("{path}[{name}]"),
                };
                if let Some(child) = schema.child(name) {
                    walk(value, child, &below, visit);
                }
            }
        }
        Value::Array(items) => {
            if let Some(of_items) = &schema.items {
                items.iter().enumerate().for_each(|(i, item)| walk(item, of_items, &format!("{path}[{i}]"), visit));
            }
        }
        _ => {}
    }
}

/// The first time each item comes again.
fn repeats(items: &[Value], path: &str, errors: &mut ErrorList) {
    for (index, item) in items.iter().enumerate() {
        if items[..index].iter().filter(|before| *before == item).count() == 1 {
            errors.duplicate(&Path::new(path).index(index), item.clone());
        }
    }
}

fn keys(items: &[Value], schema: &Schema, path: &str, errors: &mut ErrorList) {
    if let Some(index) = items.iter().position(|item| !item.is_object() && !item.is_null()) {
        let why = "must be an object for an array of list-type map";
        errors.invalid(&Path::new(path).index(index), items[index].clone(), why);
        return;
    }
    let key = |item: &Value| -> Value {
        let named = schema.list_map_keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
        Value::Object(named.collect::<Map<_, _>>())
    };
    repeats(&items.iter().map(key).collect::<Vec<_>>(), path, errors);
}

fn of_embedded(fields: &Map<String, Value>, path: &str, errors: &mut ErrorList) {
    let path = Path::new(path);
    for name in ["apiVersion", "kind"] {
        let path = path.child(name);
        match fields.get(name) {
            None => errors.required(&path, ""),
            Some(Value::String(text)) if text.is_empty() => errors.invalid(&path, "", "must not be empty"),
            Some(Value::String(kind)) if name == "kind" => {
                let broken = names::dns1035_label(&kind.to_lowercase());
                if !broken.is_empty() {
                    let why = format!("may have mixed case, but should otherwise match: {}", broken.join(","));
                    errors.invalid(&path, kind.as_str(), why);
                }
            }
            Some(Value::String(version)) if version.matches('/').count() > 1 => {
                errors.invalid(&path, version.as_str(), format!("unexpected GroupVersion string: {version}"));
            }
            Some(Value::String(_)) => {}
            Some(other) => errors.invalid(&path, other.clone(), "must be a string"),
        }
    }
}
