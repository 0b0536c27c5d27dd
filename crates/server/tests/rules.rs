//! Rules in CEL of custom resources, `x-kubernetes-validations`.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use harness::{Api, api};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

/// A definition whose `spec` is this.
fn definition(spec: &Value) -> Value {
    json!({"metadata": {"name": "widgets.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}],
    }})
}

async fn defined(spec: &Value) -> Api {
    let api = api().await;
    tokio::spawn(api.server.clone().maintain(CancellationToken::new()));
    let mut events = api.watch(&format!("{DEFINITIONS}?watch=true")).await;
    api.post(DEFINITIONS, definition(spec)).await.is(201);
    loop {
        let definition = events.next().await.expect("an event");
        let mut conditions = definition["object"]["status"]["conditions"].as_array().into_iter().flatten();
        if conditions.any(|c| c["type"] == "Established" && c["status"] == "True") {
            return api;
        }
    }
}

fn widget(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn rules_are_held_in_upstreams_words() {
    let api = defined(&json!({"type": "object",
        "properties": {
            "least": {"type": "integer"}, "count": {"type": "integer"},
            "name": {"type": "string", "maxLength": 9, "x-kubernetes-validations": [
                {"rule": "self == oldSelf", "message": "the name stays"},
                {"rule": "!self.startsWith('x')", "reason": "FieldValueForbidden"}]},
            "parts": {"type": "array", "maxItems": 9, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string", "maxLength": 9}, "size": {"type": "integer"}},
                    "x-kubernetes-validations": [
                        {"rule": "!oldSelf.hasValue() || self.size >= oldSelf.value().size", "optionalOldSelf": true, "message": "parts grow"}]}},
        },
        "x-kubernetes-validations": [
            {"rule": "self.count >= self.least", "fieldPath": ".count",
             "messageExpression": "has(self.name) ? self.name + ' has too few' : 'too few'"}],
    }))
    .await;
    let spec = json!({"least": 2, "count": 1, "name": "xy", "parts": []});
    api.post(WIDGETS, widget("a", &spec)).await.fails(
        422,
        "Widget.example.com \"a\" is invalid: [spec.count: Invalid value: xy has too few, spec.name: Forbidden: failed \
         rule: !self.startsWith('x')]",
    );
    api.post(WIDGETS, widget("b", &json!({"count": 1, "name": "y"}))).await.fails(
        422,
        "Widget.example.com \"b\" is invalid: spec: Invalid value: \"object\": no such key: least evaluating rule: \
         self.count >= self.least",
    );
    let spec = json!({"least": 1, "count": 1, "name": "y", "parts": [{"id": "p", "size": 2}]});
    api.post(WIDGETS, widget("a", &spec)).await.is(201);
    let path = format!("{WIDGETS}/a");
    api.patch(&path, "merge", json!({"spec": {"name": "z"}}))
        .await
        .fails(422, "Widget.example.com \"a\" is invalid: spec.name: Invalid value: \"z\": the name stays");
    api.patch(&path, "merge", json!({"spec": {"parts": [{"id": "q", "size": 0}, {"id": "p", "size": 1}]}}))
        .await
        .fails(422, "Widget.example.com \"a\" is invalid: spec.parts[1]: Invalid value: parts grow");
    api.patch(&path, "merge", json!({"spec": {"parts": [{"id": "q", "size": 0}, {"id": "p", "size": 3}]}}))
        .await
        .is(200);
}

#[tokio::test]
async fn what_was_there_before_a_rule_may_stay_until_it_is_changed() {
    let name = |rules: Value| {
        let name = json!({"type": "string", "maxLength": 9, "x-kubernetes-validations": rules});
        json!({"type": "object", "properties": {"size": {"type": "integer"}, "name": name}})
    };
    let api = defined(&name(json!([]))).await;
    api.post(WIDGETS, widget("a", &json!({"name": "old", "size": 1}))).await.is(201);
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let stored = api.get(&path).await.json();
    let mut next = definition(&name(json!([{"rule": "self != 'old' && self != 'older'"}])));
    next["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
    let mut objects = api.watch(&format!("{WIDGETS}?watch=true")).await;
    api.put(&path, next).await.is(200);
    // Watches end when what they watch is served otherwise.
    while objects.next().await.is_some() {}
    let path = format!("{WIDGETS}/a");
    let kept = api.patch(&path, "merge", json!({"spec": {"size": 2}})).await.is(200);
    assert_eq!(
        kept.header("warning"),
        r#"299 - "spec.name: Invalid value: \"old\": failed rule: self != 'old' && self != 'older'""#
    );
    api.patch(&path, "merge", json!({"spec": {"name": "older"}})).await.is(422);
}

#[tokio::test]
async fn rules_that_cannot_work_are_not_stored() {
    let api = api().await;
    let refused = async |spec: Value| {
        let answer = api.post(DEFINITIONS, definition(&spec)).await.is(422).json();
        let causes = answer["details"]["causes"].as_array().unwrap();
        let text = |cause: &Value| {
            let field = cause["field"].as_str().unwrap();
            let field = field.rsplit_once(".openAPIV3Schema.").map_or(field, |(_, field)| field);
            format!("{field}: {}", cause["message"].as_str().unwrap())
        };
        causes.iter().map(text).collect::<Vec<_>>()
    };
    let with = |rule: Value| json!({"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-validations": [rule]});
    let place = "properties[spec].x-kubernetes-validations[0]";
    assert_eq!(
        refused(with(json!({"rule": " "}))).await,
        [format!("{place}.rule: Required value: rule is not specified")]
    );
    assert_eq!(
        refused(with(json!({"rule": "true", "fieldPath": ".b"}))).await,
        [format!("{place}.fieldPath: Invalid value: \".b\": must be a valid path")]
    );
    let shown =
        r#"{"Rule":"self.b","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}"#;
    assert_eq!(
        refused(with(json!({"rule": "self.b"}))).await,
        [format!(
            "{place}.rule: Invalid value: {shown}: compilation failed: ERROR: <input>:1:5: undefined field 'b'\n | self.b\n | ....^"
        )]
    );
    let shown = shown.replace("self.b", "self.a");
    assert_eq!(
        refused(with(json!({"rule": "self.a"}))).await,
        [format!("{place}.rule: Invalid value: {shown}: cel expression must evaluate to a bool")]
    );
    assert_eq!(
        refused(with(json!({"rule": "true", "optionalOldSelf": true}))).await,
        [format!("{place}.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule")]
    );
    let list = |rule: &str| json!({"type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": rule}]}});
    assert_eq!(
        refused(list("self == oldSelf")).await,
        [
            "properties[spec].items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor \
             of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, \
             maps, and strings are declared)"
                .to_owned(),
            "properties[spec].items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be \
             used on the uncorrelatable portion of the schema within \
             spec.versions[0].schema.openAPIV3Schema.properties[spec]"
                .to_owned(),
            "properties[spec].items.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total \
             exceeding cost limit for entire OpenAPIv3 schema"
                .to_owned(),
            "spec.versions[0].schema.openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule cost total for \
             entire OpenAPIv3 schema exceeds budget by factor of more than 100x (try simplifying the rule, or adding \
             maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
                .to_owned(),
        ]
    );
}
