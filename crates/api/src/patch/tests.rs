use proptest::prelude::*;
use serde_json::{Value, json};

use super::{json as json_patch, merge, strategic};
use crate::schema::{Field, ListKind, ListType, MapType, ObjectRef, ObjectType, PatchStrategy, Type};
use std::sync::Arc;

#[test]
fn json_patch_cases() {
    let doc = || json!({ "a": { "b": [1, 2, 3], "n": null, "x/y": { "~": 1 } }, "s": "t" });
    let cases: &[(Value, Option<Value>)] = &[
        (json!([]), Some(doc())),
        (
            json!([{ "op": "test", "path": "/a/b/0", "value": 1 }, { "op": "remove", "path": "/a" }]),
            Some(json!({ "s": "t" })),
        ),
        (json!([{ "op": "test", "path": "/a/b/0", "value": 2 }]), None),
        (
            json!([{ "op": "test", "path": "/absent", "value": null }, { "op": "remove", "path": "/a" }]),
            Some(json!({ "s": "t" })),
        ),
        (json!([{ "op": "remove", "path": "/absent" }]), None),
        (
            json!([{ "op": "remove", "path": "/a/n" }, { "op": "remove", "path": "/a/x~1y/~0" }, { "op": "remove", "path": "/s" },
            { "op": "add", "path": "/a/b/-", "value": 4 }, { "op": "add", "path": "/a/b/0", "value": 0 },
            { "op": "remove", "path": "/a/b/-1" }]),
            Some(json!({ "a": { "b": [0, 1, 2, 3], "x/y": {} } })),
        ),
        (json!([{ "op": "add", "path": "/a/b/5", "value": 0 }]), None),
        (json!([{ "op": "add", "path": "/no/b", "value": 0 }]), None),
        (
            json!([{ "op": "replace", "path": "/new", "value": 1 }, { "op": "remove", "path": "/a" }]),
            Some(json!({ "s": "t", "new": 1 })),
        ),
        (json!([{ "op": "replace", "path": "/a/b/3", "value": 1 }]), None),
        (json!([{ "op": "replace", "path": "", "value": { "k": 1 } }]), Some(json!({ "k": 1 }))),
        (json!([{ "op": "replace", "path": "", "value": 1 }]), None),
        (
            json!([{ "op": "move", "from": "/a/b/2", "path": "/a/b/0" }, { "op": "copy", "from": "/a/b", "path": "/c" },
            { "op": "remove", "path": "/a" }]),
            Some(json!({ "s": "t", "c": [3, 1, 2] })),
        ),
        (
            json!([{ "op": "copy", "from": "/absent", "path": "/c" }, { "op": "remove", "path": "/a" }]),
            Some(json!({ "s": "t", "c": null })),
        ),
        (json!([{ "op": "jump", "path": "/a" }]), None),
        (json!([{ "op": "add", "path": "", "value": {} }]), None),
    ];
    for (patch, expected) in cases {
        let result = json_patch::apply(doc(), patch, false);
        match expected {
            Some(expected) => assert_eq!(result.as_ref(), Ok(expected), "{patch}"),
            None => assert_eq!(result.map_err(|e| e.code), Err(422), "{patch}"),
        }
    }
}

#[test]
fn json_patch_refusals() {
    let many: Value = (0..10_001).map(|_| json!({ "op": "test", "path": "/x", "value": null })).collect();
    for (patch, code, message) in [
        (json!({}), 400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        (json!(["x"]), 400, "json: cannot unmarshal string into Go value of type jsonpatch.Operation"),
        (many, 413, "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"),
        (json!([{}]), 422, "the server rejected our request due to an error in our request"),
    ] {
        let error = json_patch::apply(json!({}), &patch, false).expect_err("must be refused");
        assert_eq!((error.code, error.message.as_str()), (code, message));
    }
    let error = json_patch::apply(json!({}), &json!({}), true).expect_err("no list");
    let text = "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp";
    assert_eq!(error.message, text);
    let unknown = json!([{ "op": "add" }, { "Path": "/x", "foo": 1 }]);
    assert_eq!(json_patch::unknown_fields(&unknown), ["json patch unknown field \"[1].foo\""]);
}

#[test]
fn copies_are_bounded() {
    let doc = json!({ "big": "x".repeat(1_000_000) });
    let copy = |i: usize| json!({ "op": "copy", "from": "/big", "path": format!("/c{i}") });
    assert!(json_patch::apply(doc.clone(), &(0..3).map(copy).collect(), false).is_ok());
    assert_eq!(json_patch::apply(doc, &(0..4).map(copy).collect(), false).map_err(|e| e.code), Err(422));
}

#[test]
fn merge_patch_cases() {
    // RFC 7386, appendix A, as far as both sides are objects, and what the library adds.
    for (current, patch, expected) in [
        (json!({ "a": "b" }), json!({ "a": "c" }), json!({ "a": "c" })),
        (json!({ "a": "b" }), json!({ "b": "c" }), json!({ "a": "b", "b": "c" })),
        (json!({ "a": "b" }), json!({ "a": null }), json!({})),
        (json!({ "a": ["b"] }), json!({ "a": "c" }), json!({ "a": "c" })),
        (json!({ "a": "c" }), json!({ "a": ["b"] }), json!({ "a": ["b"] })),
        (json!({ "a": { "b": "c" } }), json!({ "a": { "b": "d", "c": null } }), json!({ "a": { "b": "d" } })),
        (json!({ "a": [{ "b": "c" }] }), json!({ "a": [1] }), json!({ "a": [1] })),
        (json!({ "e": null }), json!({ "a": 1 }), json!({ "e": null, "a": 1 })),
        (json!({}), json!({ "a": { "bb": { "ccc": null } } }), json!({ "a": { "bb": {} } })),
        (json!({}), json!({ "a": [null, { "b": null }] }), json!({ "a": [null, {}] })),
        (json!({ "a": 1 }), json!([{ "b": null }]), json!([{}])),
    ] {
        assert_eq!(merge::apply(current, patch.clone()), Ok(expected), "{patch}");
    }
    for patch in [json!(null), json!("x"), json!(1)] {
        assert_eq!(
            merge::apply(json!({}), patch).map_err(|e| (e.code, e.message)),
            Err((400, "Invalid JSON Patch".into()))
        );
    }
}

fn patched(json: &str, ty: Type, patch: PatchStrategy) -> Field {
    Field { patch, ..Field::new(json, ty) }
}

fn merged_by(key: &str) -> PatchStrategy {
    PatchStrategy { merge: true, merge_key: Some(key.to_owned()), ..PatchStrategy::default() }
}

/// The lists and maps of a pod spec, in small.
fn schema() -> ObjectType {
    let list = |item, kind| Type::List(Arc::new(ListType::new(item, kind)));
    let object = |ty| Type::Object(ObjectRef::Custom(Arc::new(ty)));
    let labels = Type::Map(Arc::new(MapType { value: Type::String, atomic: false }));
    let port = ObjectType::new("Port", vec![Field::new("port", Type::Int32), Field::new("name", Type::String)]);
    let container = ObjectType::new(
        "Container",
        vec![
            Field::new("name", Type::String),
            Field::new("image", Type::String),
            Field::new("args", list(Type::String, ListKind::Atomic)),
            patched("ports", list(object(port), ListKind::Atomic), merged_by("port")),
        ],
    );
    let rolling = ObjectType::new("Rolling", vec![Field::new("max", Type::Int32)]);
    let strategy =
        ObjectType::new("Strategy", vec![Field::new("type", Type::String), Field::new("rolling", object(rolling))]);
    let retain = PatchStrategy { retain_keys: true, ..PatchStrategy::default() };
    let merge = PatchStrategy { merge: true, ..PatchStrategy::default() };
    ObjectType::new(
        "io.example.v1.Spec",
        vec![
            patched("containers", list(object(container), ListKind::Map(vec!["name".into()])), merged_by("name")),
            patched("finalizers", list(Type::String, ListKind::Set), merge),
            Field::new("labels", labels),
            Field::new("raw", Type::RawExtension),
            Field::new("nested", list(list(Type::Int32, ListKind::Atomic), ListKind::Atomic)),
            patched("strategy", object(strategy), retain),
        ],
    )
}

#[test]
fn strategic_cases() {
    let web = || json!({ "name": "web", "image": "web:1", "args": ["a"], "ports": [{ "port": 80 }, { "port": 443 }] });
    let log = || json!({ "name": "log", "image": "log:1" });
    for (current, patch, expected) in [
        // Objects merge, null deletes, scalars replace.
        (
            json!({ "labels": { "a": "1", "b": "2" } }),
            json!({ "labels": { "a": null, "c": "3" } }),
            json!({ "labels": { "b": "2", "c": "3" } }),
        ),
        (
            json!({ "labels": { "a": "1" } }),
            json!({ "labels": { "$patch": "replace", "z": "1" } }),
            json!({ "labels": { "z": "1" } }),
        ),
        (json!({ "labels": { "a": "1" } }), json!({ "labels": { "$patch": "delete" } }), json!({ "labels": {} })),
        (json!({}), json!({ "labels": { "a": null, "b": "1" } }), json!({ "labels": { "b": "1" } })),
        // Lists with a key merge by it; those of the patch come first in its order.
        (
            json!({ "containers": [web(), log()] }),
            json!({ "containers": [{ "name": "log", "image": "log:2" }] }),
            json!({ "containers": [web(), { "name": "log", "image": "log:2" }] }),
        ),
        (
            json!({ "containers": [log()] }),
            json!({ "containers": [{ "name": "new" }, { "name": "log", "args": ["x"] }] }),
            json!({ "containers": [{ "name": "new" }, { "name": "log", "image": "log:1", "args": ["x"] }] }),
        ),
        (
            json!({ "containers": [web(), log()] }),
            json!({ "containers": [{ "name": "web", "$patch": "delete" }] }),
            json!({ "containers": [log()] }),
        ),
        (
            json!({ "containers": [web(), log()] }),
            json!({ "containers": [{ "$patch": "replace" }, { "name": "only" }] }),
            json!({ "containers": [{ "name": "only" }] }),
        ),
        (
            json!({ "containers": [{ "name": "web", "args": ["a"], "ports": [{ "port": 80 }] }] }),
            json!({ "containers": [{ "name": "web", "args": ["b"], "ports": [{ "port": 81 }] }] }),
            json!({ "containers": [{ "name": "web", "args": ["b"], "ports": [{ "port": 81 }, { "port": 80 }] }] }),
        ),
        (
            json!({}),
            json!({ "containers": [{ "name": "web", "$patch": "delete" }, { "name": "x" }] }),
            json!({ "containers": [{ "name": "x" }] }),
        ),
        // The order asked for, with what only the server has in between.
        (
            json!({ "containers": [{ "name": "a" }, { "name": "s" }, { "name": "b" }] }),
            json!({ "$setElementOrder/containers": [{ "name": "b" }, { "name": "a" }] }),
            json!({ "containers": [{ "name": "s" }, { "name": "b" }, { "name": "a" }] }),
        ),
        (
            json!({ "containers": [{ "name": "a" }, { "name": "b" }] }),
            json!({ "$setElementOrder/containers": [{ "name": "b" }, { "name": "c" }, { "name": "a" }], "containers": [{ "name": "c" }] }),
            json!({ "containers": [{ "name": "b" }, { "name": "c" }, { "name": "a" }] }),
        ),
        // Scalars merge as a set.
        (
            json!({ "finalizers": ["a", "b"] }),
            json!({ "finalizers": ["c", "a"] }),
            json!({ "finalizers": ["c", "a", "b"] }),
        ),
        (
            json!({ "finalizers": ["a", "b"] }),
            json!({ "$deleteFromPrimitiveList/finalizers": ["a"] }),
            json!({ "finalizers": ["b"] }),
        ),
        (json!({}), json!({ "$deleteFromPrimitiveList/finalizers": ["a"] }), json!({})),
        (
            json!({ "finalizers": ["a", "b"] }),
            json!({ "$setElementOrder/finalizers": ["b", "c"], "$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"] }),
            json!({ "finalizers": ["b", "c"] }),
        ),
        // Only the retained fields remain.
        (
            json!({ "strategy": { "type": "Rolling", "rolling": { "max": 1 } } }),
            json!({ "strategy": { "$retainKeys": ["type"], "type": "Recreate" } }),
            json!({ "strategy": { "type": "Recreate" } }),
        ),
        // A value of another type replaces.
        (json!({ "labels": "x" }), json!({ "labels": { "a": "1" } }), json!({ "labels": { "a": "1" } })),
    ] {
        assert_eq!(strategic::apply(current, patch.clone(), &schema()), Ok(expected), "{patch}");
    }
}

#[test]
fn strategic_refusals() {
    let current = || json!({ "containers": [{ "name": "a" }], "finalizers": ["a"], "labels": { "a": "1" }, "raw": { "x": {} }, "strategy": { "type": "x" }, "nested": [[1]] });
    for (patch, code, message) in [
        (
            json!({ "containers": [{ "image": "x" }] }),
            500,
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (json!({ "labels": { "$patch": "retain" } }), 500, "unknown patch type: retain in map: map[$patch:retain]"),
        (
            json!({ "containers": [{ "$patch": "merge", "name": "a" }] }),
            500,
            "merging lists cannot yet be specified in the patch",
        ),
        (json!({ "$setElementOrder/containers": "x" }), 500, "expected a []interface {}, but received a string"),
        (
            json!({ "$setElementOrder/containers": [{ "name": "b" }], "containers": [{ "name": "c" }] }),
            500,
            "The order in patch list:\n[map[name:c]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
        ),
        (
            json!({ "$setElementOrder/containers": [{ "name": "b" }], "containers": [{ "name": "b" }, { "name": "a", "$patch": "replace" }] }),
            500,
            "The order in patch list:\n[map[name:b] map[$patch:replace name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
        ),
        (
            json!({ "containers": [{ "name": "a", "$setElementOrder/ports": [], "ports": [] }] }),
            500,
            "no elements in any of the given slices",
        ),
        (json!({ "labels": { "$patch": 1 } }), 500, "unknown patch type: %!s(int64=1) in map: map[$patch:1]"),
        (json!({ "$deleteFromPrimitiveListx": ["a"] }), 400, "invalid patch format of primitive list"),
        (json!({ "strategy": { "$retainKeys": ["type"], "rolling": {} } }), 400, "invalid patch format of retainKeys"),
        (json!({ "finalizers": [1] }), 500, "list element types are not identical: [[a] [1]]"),
        (
            json!({ "raw": { "x": { "y": 1 } } }),
            500,
            "unable to find api field in struct RawExtension for the json field \"x\"",
        ),
        (json!({ "nested": [[2]] }), 500, "unexpected slice of slice"),
    ] {
        let error = strategic::apply(current(), patch.clone(), &schema()).expect_err("must be refused");
        assert_eq!((error.code, error.message.as_str()), (code, message), "{patch}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<i8>().prop_map(Value::from), "[a-c]{0,2}".prop_map(Value::from)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-c]", any_json(), 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn any_spec() -> impl Strategy<Value = Value> {
    let name = || prop::sample::select(&["a", "b", "c", "d"][..]);
    let container = (name(), prop::option::of("[x-z]")).prop_map(|(name, image)| match image {
        Some(image) => json!({ "name": name, "image": image }),
        None => json!({ "name": name }),
    });
    let containers = prop::collection::vec(container, 0..4).prop_map(|items| {
        let mut seen = std::collections::BTreeSet::new();
        items.into_iter().filter(|item| seen.insert(item["name"].to_string())).collect::<Value>()
    });
    let finalizers = prop::collection::btree_set(name(), 0..4).prop_map(|set| set.into_iter().collect::<Value>());
    (containers, finalizers, any_object()).prop_map(|(containers, finalizers, labels)| {
        json!({ "containers": containers, "finalizers": finalizers, "labels": labels })
    })
}

proptest! {
    #[test]
    fn merging_twice_changes_nothing(current in any_object(), patch in any_object()) {
        // A list in an object's place keeps nulls inside its items at first; decoding drops them anyway.
        let decoded = |mut merged: Value| { merge::drop_nulls(&mut merged); merged };
        let once = decoded(merge::apply(current, patch.clone()).expect("objects merge"));
        prop_assert_eq!(merge::apply(once.clone(), patch).map(decoded), Ok(once));
    }

    #[test]
    fn an_empty_patch_changes_nothing(current in any_spec()) {
        prop_assert_eq!(merge::apply(current.clone(), json!({})), Ok(current.clone()));
        prop_assert_eq!(json_patch::apply(current.clone(), &json!([]), false), Ok(current.clone()));
        prop_assert_eq!(strategic::apply(current.clone(), json!({}), &schema()), Ok(current));
    }

    #[test]
    fn patches_are_total(current in any_json(), patch in any_json()) {
        let _ = merge::apply(current.clone(), patch.clone());
        let _ = json_patch::apply(current.clone(), &patch, false);
        let _ = strategic::apply(current, patch, &schema());
    }

    #[test]
    fn strategic_merging_twice_changes_nothing(current in any_spec(), mut patch in any_spec()) {
        // Labels of any shape may meet values of another type; that is the other test's business.
        patch["labels"] = json!({});
        let once = strategic::apply(current, patch.clone(), &schema()).expect("specs merge");
        prop_assert_eq!(strategic::apply(once.clone(), patch, &schema()), Ok(once));
    }

    #[test]
    fn strategic_merging_keeps_every_item_once(current in any_spec(), patch in any_spec()) {
        let names = |spec: &Value| -> std::collections::BTreeSet<String> {
            spec["containers"].as_array().into_iter().flatten().map(|c| c["name"].to_string()).collect()
        };
        let merged = strategic::apply(current.clone(), json!({ "containers": patch["containers"] }), &schema())
            .expect("containers merge");
        let all: std::collections::BTreeSet<String> = names(&current).union(&names(&patch)).cloned().collect();
        prop_assert_eq!(names(&merged), all.clone());
        prop_assert_eq!(merged["containers"].as_array().map_or(0, Vec::len), all.len());
    }
}
