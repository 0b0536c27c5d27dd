use serde_json::{Value, json};

use super::{Schema, defaulting, prune, table, validate};
use crate::schema::{ListKind, Type};

fn schema(value: Value) -> Schema {
    Schema::read(&value).unwrap()
}

fn sample() -> Schema {
    schema(json!({"type": "object", "required": ["spec"], "properties": {"spec": {
        "type": "object",
        "properties": {
            "size": {"type": "integer", "minimum": 1, "default": 1},
            "name": {"type": "string", "maxLength": 3, "pattern": "^[a-z]+$"},
            "mode": {"type": "string", "enum": ["On", "Off"]},
            "port": {"x-kubernetes-int-or-string": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "inner": {"type": "object", "x-kubernetes-embedded-resource": true},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                      "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"},
                                "on": {"type": "boolean", "default": true}}}},
        },
    }}}))
}

fn errors(spec: Value, old: Option<Value>) -> Vec<String> {
    let object = json!({ "spec": spec });
    let old = old.map(|spec| json!({ "spec": spec }));
    let mut errors = validate::value(&object, old.as_ref(), &sample(), "");
    errors.extend(validate::invariants(&object, old.as_ref(), &sample()));
    errors.0.iter().map(ToString::to_string).collect()
}

#[test]
fn prunes_and_tells_what_went() {
    let mut object = json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "x", "unknown": 1}, "extra": 1, "spec": {
        "size": 1, "sized": 2, "free": {"a": {"b": 1}}, "labels": {"a": "b"}, "parts": [{"id": "1", "x": 1}],
        "inner": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "odd": 1}, "spec": {}},
    }});
    let gone = prune::object(&mut object, &sample()).unwrap();
    assert_eq!(
        gone,
        ["extra", "metadata.unknown", "spec.inner.metadata.odd", "spec.inner.spec", "spec.parts[0].x", "spec.sized"]
    );
    assert_eq!(object["spec"]["free"], json!({"a": {"b": 1}}));
    assert_eq!(object["metadata"], json!({"name": "x"}));
    assert!(prune::object(&mut json!({"metadata": {"labels": 1}}), &sample()).is_err());
}

#[test]
fn fills_in_defaults() {
    let mut object = json!({"spec": {"size": null, "name": null, "parts": [{"id": "1"}]}});
    defaulting::apply(&mut object, &sample());
    assert_eq!(object, json!({"spec": {"size": 1, "parts": [{"id": "1", "on": true}]}}));
}

#[test]
fn refuses_in_upstreams_words() {
    let cases = [
        (json!({"size": 0}), "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        (
            json!({"size": "big"}),
            "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
        ),
        (json!({"name": "abcd"}), "spec.name: Too long: may not be more than 3 bytes"),
        (json!({"name": "A"}), "spec.name: Invalid value: \"A\": spec.name in body should match '^[a-z]+$'"),
        (json!({"mode": "Maybe"}), "spec.mode: Unsupported value: \"Maybe\": supported values: \"On\", \"Off\""),
        (
            json!({"port": true}),
            "spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\"",
        ),
        (json!({"parts": [{}]}), "spec.parts[0].id: Required value"),
        (json!({"parts": [{"id": "1"}, {"id": "1"}]}), "spec.parts[1]: Duplicate value: {\"id\":\"1\"}"),
        (json!({"inner": {"kind": "Pod"}}), "spec.inner.apiVersion: Required value"),
    ];
    for (spec, want) in cases {
        assert_eq!(errors(spec.clone(), None), [want], "{spec}");
    }
    assert_eq!(errors(json!({"size": 2.0, "name": "abc", "mode": "On", "port": "http"}), None), [""; 0]);
}

#[test]
fn what_an_update_leaves_alone_is_not_held_against_it() {
    let old = json!({"size": 0, "parts": [{"id": "1", "on": "wrong"}]});
    assert!(
        errors(json!({"size": 0, "name": "a", "parts": [{"id": "1", "on": "wrong"}]}), Some(old.clone())).is_empty()
    );
    assert_eq!(errors(json!({"size": -1, "parts": []}), Some(old)).len(), 1);
}

#[test]
fn a_whole_number_is_measured_by_what_is_whole() {
    let texts = |value: Value, rule: Value| -> Vec<String> {
        validate::value(&value, None, &schema(rule), "").0.iter().map(ToString::to_string).collect()
    };
    let factor = "<nil>: Invalid value: 0: factor MultipleOf declared for  must be positive: 0";
    assert_eq!(texts(json!(3), json!({"multipleOf": 0.5})), [factor]);
    assert!(texts(json!(1.5), json!({"multipleOf": 0.5})).is_empty());
    assert!(texts(json!(2), json!({"type": "number", "minimum": 2.5})).is_empty());
    assert_eq!(texts(json!(2.4), json!({"type": "number", "minimum": 2.5})).len(), 1);
    // What does not fit the type is one error, and then measures as it is.
    assert_eq!(texts(json!(2), json!({"type": "integer", "minimum": 2.5})).len(), 2);
    let none = json!({"type": "integer", "default": 3, "not": {"multipleOf": 0.5}});
    assert!(texts(json!(3), none).is_empty());
}

#[test]
fn combinations() {
    let either = schema(json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}));
    let texts = |value: Value| -> Vec<String> {
        validate::value(&value, None, &either, "").0.iter().map(ToString::to_string).collect()
    };
    assert!(texts(json!({"a": 1})).is_empty());
    assert_eq!(texts(json!({})).len(), 2);
    assert_eq!(
        texts(json!({"a": 1, "b": 1})),
        ["<nil>: Invalid value: \"\": \"\" must validate one and only one schema (oneOf). Found 2 valid alternatives"]
    );
}

#[test]
fn tables_say_what_has_parts() {
    let table = table::of_object("x", &sample());
    let Type::Object(spec) = &table.get().field("spec").unwrap().ty else { panic!("an object") };
    let Type::List(parts) = &spec.get().field("parts").unwrap().ty else { panic!("a list") };
    assert_eq!(parts.kind, ListKind::Map(vec!["id".into()]));
    assert!(matches!(spec.get().field("labels").unwrap().ty, Type::Map(_)));
    assert!(table.get().field("metadata").is_some());
}

#[test]
fn defaults_are_asked_less_and_told_more() {
    let texts = |value: Value, of: Value| {
        validate::default(&value, &schema(of)).0.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(texts(json!({}), json!({ "x-kubernetes-int-or-string": true })).is_empty());
    assert!(texts(json!(3), json!({ "type": "integer", "not": { "format": "x" } })).is_empty());
    assert_eq!(
        texts(json!(3), json!({ "type": "integer", "minimum": 0.5 })),
        ["<nil>: Invalid value: \"\": Minimum boundary value must be of type integer (default format) in "]
    );
}
