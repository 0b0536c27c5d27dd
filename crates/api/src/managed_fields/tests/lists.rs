//! How lists merge: order, sets, repeats.

use serde_json::{Value, json};
use std::sync::Arc;

use crate::managed_fields::compare::compare;
use crate::managed_fields::fields::field_set;
use crate::managed_fields::merge::merge;
use crate::managed_fields::types::TypeRef;
use crate::schema::{Field, ListKind, ListType, MapType, ObjectRef, ObjectType, Type};

fn schema() -> ObjectType {
    let list = |item, kind| Type::List(Arc::new(ListType::new(item, kind)));
    let item = ObjectType::new("Item", vec![Field::new("name", Type::String), Field::new("value", Type::Int64)]);
    let mut atomic = ObjectType::new("Whole", vec![Field::new("a", Type::Int64), Field::new("b", Type::Int64)]);
    atomic.atomic = true;
    let object = |ty| Type::Object(ObjectRef::Custom(Arc::new(ty)));
    ObjectType::new(
        "Test",
        vec![
            Field::new("keyed", list(object(item), ListKind::Map(vec!["name".to_owned()]))),
            Field::new("set", list(Type::String, ListKind::Set)),
            Field::new("plain", list(Type::String, ListKind::Atomic)),
            Field::new("map", Type::Map(Arc::new(MapType { value: Type::String, atomic: false }))),
            Field::new("whole", object(atomic)),
            Field::new("any", Type::Json),
            Field::new("raw", Type::RawExtension),
        ],
    )
}

#[test]
fn merging() {
    let keyed =
        |names: &str| json!({ "keyed": names.chars().map(|c| json!({ "name": c.to_string() })).collect::<Value>() });
    let set = |names: &str| json!({ "set": names.chars().map(|c| c.to_string()).collect::<Value>() });
    for (live, applied, merged) in [
        ("", "ab", "ab"),
        ("ab", "", "ab"),
        ("abc", "ab", "abc"),
        ("ab", "abc", "abc"),
        ("ab", "ba", "ba"),
        ("abc", "def", "abcdef"),
        ("abc", "cdef", "abcdef"),
        ("abcgf", "cdef", "abcgdef"),
        ("cdef", "ace", "acdef"),
        ("abcxyz", "def", "abcxyzdef"),
        ("abcxyz", "defxyz", "abcdefxyz"),
        ("cagf", "cfag", "cfag"),
        ("abcd", "defa", "bcdefa"),
        ("cdefghij", "2h3e4kl", "cdfg2hij3e4kl"),
        ("abcdefghij", "1b2h3e4kl", "a1bcdfg2hij3e4kl"),
        ("abb", "c", "abbc"),
        ("abb", "b", "ab"),
        ("abb", "a", "abb"),
        ("abcdec", "1b2ed", "a1bc2ecd"),
        ("abcdec", "1b2ced", "a1b2ced"),
        ("aabb", "bcd", "aabcd"),
        ("cagfca", "cfag", "cfag"),
        ("abc", "cb", "acb"),
        ("abc", "ca", "bca"),
    ] {
        let schema = schema();
        assert_eq!(merge(&keyed(live), &keyed(applied), TypeRef::Object(&schema)), keyed(merged), "{live} {applied}");
        assert_eq!(merge(&set(live), &set(applied), TypeRef::Object(&schema)), set(merged), "{live} {applied}");
    }
    for (live, applied, merged) in [
        (
            json!({ "keyed": [{ "name": "a", "value": 1 }] }),
            json!({ "keyed": [{ "name": "a" }] }),
            json!({ "keyed": [{ "name": "a", "value": 1 }] }),
        ),
        (json!({ "plain": ["a", "b"] }), json!({ "plain": ["c"] }), json!({ "plain": ["c"] })),
        (json!({ "whole": { "a": 1 } }), json!({ "whole": { "b": 1 } }), json!({ "whole": { "b": 1 } })),
        (json!({ "map": { "a": "1" } }), json!({ "map": { "b": "1" } }), json!({ "map": { "a": "1", "b": "1" } })),
        (json!({ "map": { "a": "1" } }), json!({ "map": null }), json!({ "map": { "a": "1" } })),
        (
            json!({ "any": { "a": { "b": 1 }, "l": [1] } }),
            json!({ "any": { "a": { "c": 1 }, "l": [2] } }),
            json!({ "any": { "a": { "b": 1, "c": 1 }, "l": [2] } }),
        ),
        (json!({ "raw": { "a": 1 } }), json!({ "raw": { "b": 1 } }), json!({ "raw": { "b": 1 } })),
        (json!({ "any": { "a": 1 } }), json!({ "any": 7 }), json!({ "any": 7 })),
        (json!({ "any": 7 }), json!({ "any": { "a": 1 } }), json!({ "any": { "a": 1 } })),
        // A live item that is repeated merges with nothing.
        (
            json!({ "keyed": [{ "name": "a", "value": 1 }, { "name": "a", "value": 2 }] }),
            json!({ "keyed": [{ "name": "a" }] }),
            json!({ "keyed": [{ "name": "a" }] }),
        ),
    ] {
        assert_eq!(merge(&live, &applied, TypeRef::Object(&schema())), merged, "{live} {applied}");
    }
}

#[test]
fn owning() {
    for (object, set) in [
        (
            json!({ "keyed": [{ "name": "a", "value": 1 }], "set": ["x"], "plain": ["p"], "map": { "k": "v" }, "whole": { "a": 1 } }),
            json!({ "f:keyed": { "k:{\"name\":\"a\"}": { ".": {}, "f:name": {}, "f:value": {} } }, "f:set": { "v:\"x\"": {} },
                "f:plain": {}, "f:map": { "f:k": {} }, "f:whole": {} }),
        ),
        (json!({ "keyed": [], "map": {}, "any": {} }), json!({ "f:map": {}, "f:any": {} })),
        (json!({ "keyed": null, "map": null }), json!({ "f:keyed": {}, "f:map": {} })),
        (
            json!({ "any": { "a": { "b": [1] } }, "raw": { "a": 1 } }),
            json!({ "f:any": { "f:a": { ".": {}, "f:b": {} } }, "f:raw": {} }),
        ),
        (
            json!({ "keyed": [{ "name": "a", "value": 1 }, { "name": "a" }, { "name": "b" }] }),
            json!({ "f:keyed": { "k:{\"name\":\"a\"}": {}, "k:{\"name\":\"b\"}": { ".": {}, "f:name": {} } } }),
        ),
    ] {
        assert_eq!(field_set(&object, TypeRef::Object(&schema())).to_json(), set, "{object}");
    }
}

#[test]
fn comparing() {
    let none = json!({});
    for (old, new, removed, modified, added) in [
        (
            json!({ "set": ["a", "b"] }),
            json!({ "set": ["b", "c"] }),
            json!({ "f:set": { "v:\"a\"": {} } }),
            none.clone(),
            json!({ "f:set": { "v:\"c\"": {} } }),
        ),
        (
            json!({ "keyed": [{ "name": "a", "value": 1 }] }),
            json!({ "keyed": [{ "name": "a", "value": 2 }] }),
            none.clone(),
            json!({ "f:keyed": { "k:{\"name\":\"a\"}": { "f:value": {} } } }),
            none.clone(),
        ),
        (
            json!({ "keyed": [{ "name": "a" }, { "name": "b" }] }),
            json!({ "keyed": [{ "name": "b" }, { "name": "a" }] }),
            none.clone(),
            none.clone(),
            none.clone(),
        ),
        (json!({ "plain": ["a"] }), json!({ "plain": ["b"] }), none.clone(), json!({ "f:plain": {} }), none.clone()),
        (json!({ "any": 1 }), json!({ "any": 1.0 }), none.clone(), none.clone(), none.clone()),
        (
            json!({}),
            json!({ "map": { "a": "1" } }),
            none.clone(),
            none.clone(),
            json!({ "f:map": { ".": {}, "f:a": {} } }),
        ),
        (
            json!({ "map": {} }),
            json!({ "map": { "a": "1" } }),
            none.clone(),
            none.clone(),
            // An empty map that is left out is as none.
            json!({ "f:map": { ".": {}, "f:a": {} } }),
        ),
        (
            json!({ "any": { "a": 1 } }),
            json!({ "any": 7 }),
            json!({ "f:any": { "f:a": {} } }),
            json!({ "f:any": {} }),
            none.clone(),
        ),
        (json!({ "unknown": 1 }), json!({ "unknown": 2 }), none.clone(), none.clone(), none.clone()),
        (
            json!({ "keyed": [{ "name": "a" }, { "name": "a" }] }),
            json!({ "keyed": [{ "name": "a" }] }),
            json!({ "f:keyed": { "k:{\"name\":\"a\"}": {} } }),
            none.clone(),
            json!({ "f:keyed": { "k:{\"name\":\"a\"}": { ".": {}, "f:name": {} } } }),
        ),
    ] {
        let found = compare(&old, &new, TypeRef::Object(&schema())).unwrap();
        assert_eq!(
            (found.removed.to_json(), found.modified.to_json(), found.added.to_json()),
            (removed, modified, added),
            "{old} {new}"
        );
    }
    let nameless = json!({ "keyed": [{ "value": 1 }] });
    assert_eq!(
        compare(&json!({}), &nameless, TypeRef::Object(&schema())).unwrap_err().to_string(),
        "element 0: associative list with keys has an element that omits all key fields [\"name\"] (and doesn't have default values for any key fields)"
    );
}
