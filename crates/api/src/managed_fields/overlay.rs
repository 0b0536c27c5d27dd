//! Putting a configuration over an object without owning anything: what a mutating policy applies.

use serde_json::Value;

use super::convert::root;
use super::merge::merge;
use super::types::{Shape, TypeRef};
use crate::schema::ObjectRef;

/// `live` with all that `configuration` says, which must not touch what can only be replaced whole.
pub fn overlay(live: &Value, configuration: &Value, schema: Option<&ObjectRef>) -> Result<Value, String> {
    let ty = root(schema);
    let mut atomics = Vec::new();
    find_atomics(configuration, ty, "", &mut atomics);
    if atomics.is_empty() {
        return Ok(merge(live, configuration, ty));
    }
    let paths = atomics.join(", ");
    Err(format!("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {paths}"))
}

fn find_atomics(value: &Value, ty: TypeRef<'_>, path: &str, found: &mut Vec<String>) {
    let shape = ty.shape(value);
    match (shape, value) {
        (Shape::Leaf, Value::Array(_) | Value::Object(_)) => found.push(path.to_owned()),
        (Shape::List(list), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                find_atomics(item, TypeRef::Of(&list.item), &format!("{path}[{index}]"), found);
            }
        }
        (shape, Value::Object(fields)) => {
            for (name, value) in fields {
                let member = shape.member(name).unwrap_or(TypeRef::Deduced);
                find_atomics(value, member, &format!("{path}.{name}"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::builtin;

    #[test]
    fn keyed_lists_merge_and_atomic_ones_are_refused() {
        let pod = builtin().of("v1", "Pod");
        let live = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "image": "x"}]}});
        let more = json!({"spec": {"initContainers": [{"name": "m"}], "containers": [{"name": "a", "tty": true}]}});
        let merged = overlay(&live, &more, pod.as_ref()).unwrap();
        assert_eq!(merged["spec"]["containers"], json!([{"name": "a", "image": "x", "tty": true}]));
        assert_eq!(merged["spec"]["initContainers"], json!([{"name": "m"}]));
        let atomic = json!({"spec": {"containers": [{"name": "a", "args": ["x"]}]}});
        let refused = overlay(&live, &atomic, pod.as_ref()).unwrap_err();
        assert!(refused.ends_with(": .spec.containers[0].args"), "{refused}");
    }
}
