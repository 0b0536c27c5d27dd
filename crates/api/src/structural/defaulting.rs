//! Fills in what a schema defaults (`apiserver/schema/defaulting`).

use serde_json::Value;

use super::Schema;

/// Removes nulls that neither are allowed nor have a default, then fills in defaults. Idempotent.
pub fn apply(value: &mut Value, schema: &Schema) {
    drop_nulls(value, schema);
    fill(value, schema);
}

fn drop_nulls(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(fields) => fields.retain(|name, value| {
            let Some(child) = schema.child(name) else { return true };
            if child.refuses_null(value) && child.default.is_none() {
                return false;
            }
            drop_nulls(value, child);
            true
        }),
        Value::Array(items) => {
            if let Some(of_items) = &schema.items {
                items.iter_mut().for_each(|item| drop_nulls(item, of_items));
            }
        }
        _ => {}
    }
}

fn fill(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(fields) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                if fields.get(name).is_none_or(|value| property.refuses_null(value)) {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in fields.iter_mut() {
                if let Some(child) = schema.child(name) {
                    fill_null(value, child);
                    fill(value, child);
                }
            }
        }
        Value::Array(items) => {
            if let Some(of_items) = &schema.items {
                for item in items {
                    fill_null(item, of_items);
                    fill(item, of_items);
                }
            }
        }
        _ => {}
    }
}

fn fill_null(value: &mut Value, schema: &Schema) {
    if schema.refuses_null(value)
        && let Some(default) = &schema.default
    {
        value.clone_from(default);
    }
}
