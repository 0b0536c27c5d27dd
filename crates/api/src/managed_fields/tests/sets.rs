use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

use crate::managed_fields::{FieldSet, PathElement};

#[test]
fn sets_read_and_print_as_fields_v1() {
    for text in [
        "{}",
        r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}}}"#,
        r#"{"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:name":{}},"k:{\"port\":443,\"protocol\":\"TCP\"}":{}},"f:x":{"v:\"a\"":{},"v:1":{}},"i:0":{}}}"#,
    ] {
        let json: Value = serde_json::from_str(text).unwrap();
        assert_eq!(FieldSet::from_json(&json).unwrap().to_json(), json, "{text}");
    }
}

#[test]
fn unknown_forms_are_skipped_and_bad_ones_refused() {
    let set = FieldSet::from_json(&json!({ "f:a": { "z:later": {} }, "z:later": { "f:b": {} } })).unwrap();
    assert_eq!(set.to_json(), json!({ "f:a": {} }));
    for (bad, message) in [
        ("f", "key must be 2 characters long:"),
        ("fa:b", "missing colon: fa:b"),
        ("k:[1]", "invalid path element \"k:[1]\""),
        ("v:{", "invalid path element \"v:{\""),
        ("i:x", "invalid path element \"i:x\""),
    ] {
        assert_eq!(FieldSet::from_json(&json!({ bad: {} })).unwrap_err().to_string(), message);
    }
}

fn any_path() -> impl Strategy<Value = Vec<PathElement>> {
    let element = prop_oneof![
        "[a-c]".prop_map(PathElement::Field),
        (0..2i64).prop_map(|port| PathElement::Key(vec![("port".to_owned(), json!(port))])),
        "[a-c]".prop_map(|text| PathElement::Value(json!(text))),
    ];
    prop::collection::vec(element, 1..4)
}

fn any_paths() -> impl Strategy<Value = BTreeSet<Vec<PathElement>>> {
    prop::collection::btree_set(any_path(), 0..8)
}

fn set_of(paths: &BTreeSet<Vec<PathElement>>) -> FieldSet {
    let mut set = FieldSet::default();
    for path in paths {
        set.insert(path);
    }
    set
}

fn paths_of(set: &FieldSet) -> BTreeSet<Vec<PathElement>> {
    let mut paths = BTreeSet::new();
    set.for_each(&mut |path| {
        paths.insert(path.to_vec());
    });
    paths
}

proptest! {
    #[test]
    fn trees_behave_as_sets_of_paths(a in any_paths(), b in any_paths()) {
        let (set_a, set_b) = (set_of(&a), set_of(&b));
        prop_assert_eq!(paths_of(&set_a), a.clone());
        prop_assert_eq!(paths_of(&set_a.clone().union(set_b.clone())), a.union(&b).cloned().collect());
        prop_assert_eq!(paths_of(&set_a.intersection(&set_b)), a.intersection(&b).cloned().collect());
        prop_assert_eq!(paths_of(&set_a.clone().difference(&set_b)), a.difference(&b).cloned().collect());
        let below = a.iter().filter(|path| !(1..=path.len()).any(|n| b.contains(&path[..n]))).cloned().collect();
        prop_assert_eq!(paths_of(&set_a.clone().difference_below(&set_b)), below);
        prop_assert_eq!(set_a.touches(&set_b.to_json()), !set_a.intersection(&set_b).is_empty());
        prop_assert_eq!(FieldSet::from_json(&set_a.to_json()), Ok(set_a.clone()));
        for path in &a {
            prop_assert!(set_a.has(path));
        }
    }
}
