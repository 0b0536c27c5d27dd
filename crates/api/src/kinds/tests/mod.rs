//! What must hold for every kind in the list.

mod hooks;
mod tables;

use std::collections::BTreeSet;
use std::fmt::Write;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::kinds::all;
use crate::table::Now;

use crate::kind::{Kind, KindInfo, Subresource};

/// Upstream's `api/discovery`, one line a resource:
/// `group/versions plural kind scope verbs shortNames categories subresource=kind:verbs...`, `*` for all verbs.
const DISCOVERY: &str = include_str!("../discovery.txt");

fn line(info: &KindInfo) -> String {
    let list = |names: &[crate::kind::Text]| if names.is_empty() { "-".to_owned() } else { names.join(",") };
    let verbs = match list(&info.verbs).as_str() {
        "create,delete,deletecollection,get,list,patch,update,watch" => "*".to_owned(),
        verbs => verbs.to_owned(),
    };
    let scope = if info.namespaced { "namespaced" } else { "cluster" };
    let mut line = format!(
        "{}/{} {} {} {scope} {verbs} {} {}",
        info.group,
        list(&info.versions),
        info.plural,
        info.kind,
        list(&info.short_names),
        list(&info.categories)
    );
    for Subresource { name, kind, group, version, verbs } in info.subresources.iter() {
        let body = if group.is_empty() { kind.to_string() } else { format!("{group}/{version}/{kind}") };
        write!(line, " {name}={body}:{}", list(verbs)).expect("writing to a string");
    }
    line
}

#[test]
fn facts_agree_with_discovery() {
    let ours: Vec<String> = all().iter().map(|kind| line(kind.info())).collect();
    assert_eq!(ours, DISCOVERY.lines().collect::<Vec<_>>());
}

#[test]
fn names_are_unique() {
    let mut seen = BTreeSet::new();
    for kind in all() {
        let info = kind.info();
        for name in [&info.plural, &info.kind] {
            assert!(seen.insert((&info.group, name)), "{}/{name} twice", info.group);
        }
        assert!(info.versions.contains(&info.storage_version) || info.storage_version.contains('/'), "{}", info.kind);
    }
}

#[test]
fn lookups_find_every_served_version() {
    for kind in all() {
        let info = kind.info();
        for version in info.versions.iter() {
            let by_resource =
                crate::kinds::by_resource(&info.group, version, &info.plural).map(|k| k.info().kind.clone());
            let by_kind = crate::kinds::by_kind(&info.group, version, &info.kind).map(|k| k.info().kind.clone());
            assert_eq!((by_resource, by_kind), (Some(info.kind.clone()), Some(info.kind.clone())));
        }
        assert!(crate::kinds::by_kind(&info.group, "v0", &info.kind).is_none());
    }
}

#[test]
fn every_version_has_a_schema() {
    for kind in all() {
        let info = kind.info();
        for version in info.versions.iter().chain([&info.storage_version]) {
            let schema = kind.schema(version).unwrap_or_else(|| panic!("no schema of {} {version}", info.kind));
            assert!(schema.get().field("metadata").is_some(), "{} {version}", info.kind);
        }
    }
}

#[test]
fn columns_and_cells_pair_up() {
    for kind in all() {
        let obj = json!({ "metadata": { "name": "a", "creationTimestamp": "2026-01-01T00:00:00Z" } });
        let columns: Vec<_> = kind.columns().into_iter().map(|c| c.name).collect();
        let spare = kind.row(&obj, Now::At(1_767_225_600)).len() - columns.len();
        // Upstream's rows of IPAddresses have an age, its tables no column for it.
        assert_eq!(spare, usize::from(kind.info().kind == "IPAddress"), "{} {columns:?}", kind.info().kind);
    }
}

/// Runs every hook on `obj` and `old`.
fn run_hooks(kind: &dyn Kind, obj: &Value, old: &Value) {
    let info = kind.info();
    let mut versions: Vec<&str> = info.versions.iter().map(AsRef::as_ref).collect();
    versions.push(&info.storage_version);
    for version in &versions {
        kind.set_defaults(version, &mut obj.clone());
        for to in versions.iter().filter(|to| *to != version) {
            kind.convert(&mut obj.clone(), version, to);
        }
    }
    kind.prepare_create(&mut obj.clone());
    kind.prepare_update(&mut obj.clone(), old);
    kind.generation_changed(obj, old);
    kind.validate(obj);
    kind.validate_update(obj, old);
    kind.warnings("", obj, Some(old));
    for name in info.subresources.iter().map(|s| s.name.as_ref()).chain(["", "unknown"]) {
        kind.prepare_subresource(name, &mut obj.clone(), old);
        kind.validate_subresource(name, obj, old);
    }
    for label in kind.field_labels().iter() {
        let _ = label.read(obj);
    }
    assert!(kind.row(obj, Now::At(1_767_225_600)).len() >= kind.columns().len());
}

/// JSON whose keys are those the hooks look for, so that it gets deep into them.
fn any_object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(WORDS).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(WORDS), inner, 0..6).prop_map(|map| map
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

const WORDS: &[&str] = &[
    "metadata",
    "spec",
    "status",
    "conditions",
    "annotations",
    "labels",
    "name",
    "type",
    "template",
    "containers",
    "initContainers",
    "ephemeralContainers",
    "containerStatuses",
    "state",
    "resources",
    "requests",
    "limits",
    "cpu",
    "finalizers",
    "metrics",
    "currentMetrics",
    "resource",
    "target",
    "versions",
    "storage",
    "endpoints",
    "ports",
    "taint",
    "dataSource",
    "dataSourceRef",
    "secrets",
    "selector",
    "allocation",
    "devices",
    "results",
    "rules",
    "creationTimestamp",
    "2026-01-01T00:00:00Z",
    "autoscaling.alpha.kubernetes.io/metrics",
    "[{}]",
    "phase",
    "",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hooks_are_total(obj in any_object(), old in any_object(), index in 0..all().len()) {
        run_hooks(all()[index], &obj, &old);
    }
}

#[test]
fn hooks_take_what_is_no_object() {
    let odd = [json!(null), json!(1), json!([]), json!({ "metadata": 1, "spec": [], "status": "x" })];
    for kind in all() {
        for obj in &odd {
            for old in &odd {
                run_hooks(*kind, obj, old);
            }
        }
    }
}
