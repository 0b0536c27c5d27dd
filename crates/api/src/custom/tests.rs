use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::{Checked, CustomKind, Rules, versions};
use crate::kind::Kind;
use crate::table::Now;

pub fn definition() -> Value {
    json!({"metadata": {"name": "widgets.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList",
                  "shortNames": ["wd"], "categories": ["all"]},
        "versions": [
            {"name": "v1", "served": true, "storage": true, "deprecated": true,
             "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                              "statusReplicasPath": ".status.replicas"}},
             "selectableFields": [{"jsonPath": ".spec.color"}],
             "additionalPrinterColumns": [
                {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
                {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
                {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1}],
             "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {"color": {"type": "string"}, "replicas": {"type": "integer"}}},
                "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}}}}}},
            {"name": "v2", "served": false, "storage": false},
        ],
    }})
}

fn widget() -> CustomKind {
    let mut all = versions(&definition(), &|_| None);
    assert_eq!(all.len(), 1, "served ones only");
    all.remove(0).1
}

#[test]
fn is_what_its_definition_says() {
    let kind = widget();
    let info = kind.info();
    assert_eq!((&*info.storage_key, &*info.storage_version, info.namespaced), ("example.com/widgets", "v1", true));
    assert_eq!(info.subresources.iter().map(|s| &*s.name).collect::<Vec<_>>(), ["status", "scale"]);
    assert_eq!(kind.deprecation("v1").as_deref(), Some("example.com/v1 Widget is deprecated"));
    let object = json!({"metadata": {"name": "w"}, "spec": {"color": "red", "replicas": 3},
                        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    assert_eq!(kind.row(&object, Now::At(0)), [json!("w"), json!("red"), json!("True"), json!(3)]);
    assert_eq!(kind.row(&json!({"metadata": {"name": "w"}}), Now::At(0))[1..], [Value::Null, Value::Null, Value::Null]);
    assert_eq!(kind.field_labels()[0].read(&object), "red");
    assert_eq!(kind.field_labels()[0].label, "spec.color");
}

#[test]
fn status_is_written_apart() {
    let kind = widget();
    let old = json!({"metadata": {"name": "w"}, "spec": {"replicas": 1}, "status": {"replicas": 1}});
    let mut sent = json!({"metadata": {"name": "w"}, "spec": {"replicas": 2}, "status": {"replicas": 2}});
    let mut spec = sent.clone();
    kind.prepare_update(&mut spec, &old);
    assert_eq!(spec["status"], old["status"]);
    assert!(kind.generation_changed(&spec, &old));
    kind.prepare_subresource("status", &mut sent, &old);
    assert_eq!((&sent["spec"], &sent["status"]["replicas"]), (&old["spec"], &json!(2)));
    let wrong = json!({"metadata": {"name": "w"}, "status": {"replicas": "two"}});
    let errors = kind.validate_subresource("status", &wrong, &old);
    assert_eq!(
        errors.0[0].to_string(),
        "status.replicas: Invalid value: \"string\": replicas in body must be of type integer: \"string\""
    );
}

#[test]
fn finalizers_without_a_domain_are_frowned_upon() {
    let object = json!({"metadata": {"name": "w", "finalizers": ["mine", "example.com/mine", "orphan"]}});
    let warnings = widget().warnings("", &object, None);
    assert_eq!(
        warnings,
        [
            "metadata.finalizers: \"mine\": prefer a domain-qualified finalizer name to avoid accidental conflicts with other \
          finalizer writers"
        ]
    );
}

/// Rules that find fault with what was there before, and count how often they are asked.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Rules for Counting {
    fn check(&self, _: &Value, _: Option<&Value>) -> Checked {
        self.0.fetch_add(1, Ordering::Relaxed);
        Checked { ratcheted: vec!["as it was".to_owned()], ..Checked::default() }
    }
}

#[test]
fn rules_are_run_once_in_an_update() {
    let rules = Arc::new(Counting::default());
    let kind = versions(&definition(), &|_| Some(rules.clone())).remove(0).1;
    let obj = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {}});
    for (asked, subresource) in ["", "status"].into_iter().enumerate() {
        let (errors, warnings) = kind.check_update(subresource, &obj, &obj);
        assert_eq!((errors.0.len(), warnings), (0, vec!["as it was".to_owned()]));
        assert!(kind.warnings(subresource, &obj, Some(&obj)).is_empty());
        assert_eq!(rules.0.load(Ordering::Relaxed), asked + 1);
    }
}
