//! Custom resources that a webhook converts between versions.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use harness::{Api, api, hook};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const V1: &str = "/apis/example.com/v1/namespaces/default/widgets";
const V2: &str = "/apis/example.com/v2/namespaces/default/widgets";

/// What v1 calls `color` is `colour` in v2. A widget called "broken" is not converted.
fn convert(review: &Value) -> Value {
    let request = &review["request"];
    let wanted = request["desiredAPIVersion"].as_str().unwrap();
    let objects: Vec<Value> = request["objects"].as_array().unwrap().clone();
    let broken = objects.iter().any(|object| object["metadata"]["name"] == "broken");
    let converted = objects.into_iter().map(|mut object| {
        let (from, to) = if wanted.ends_with("v2") { ("color", "colour") } else { ("colour", "color") };
        assert_ne!(object["apiVersion"], wanted, "there is nothing to convert");
        object["apiVersion"] = wanted.into();
        let spec = object["spec"].as_object_mut().unwrap();
        let value = spec.remove(from);
        spec.extend(value.map(|value| (to.to_owned(), value)));
        object["metadata"]["labels"] = json!({"seen": wanted.replace('/', "_")});
        object
    });
    let converted: Vec<Value> = converted.collect();
    let result = if broken { json!({"status": "Failure", "message": "no way"}) } else { json!({"status": "Success"}) };
    json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
           "response": {"uid": request["uid"], "result": result, "convertedObjects": converted}})
}

fn definition(client: Value, stored: &str) -> Value {
    let version = |name: &str, field: &str| {
        json!({"name": name, "served": true, "storage": name == stored, "selectableFields": [{"jsonPath": format!(".spec.{field}")}],
               "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                   "spec": {"type": "object", "properties": {field: {"type": "string"}, "size": {"type": "integer"}}}}}}})
    };
    json!({"metadata": {"name": "widgets.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [version("v1", "color"), version("v2", "colour")],
        "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": client}},
    }})
}

/// A server with the definition in force, v1 stored.
async fn defined() -> (Api, Value) {
    defined_with(convert).await
}

async fn defined_with(convert: impl Fn(&Value) -> Value + Clone + Send + Sync + 'static) -> (Api, Value) {
    let api = api().await;
    let client = hook::serve(convert).await;
    tokio::spawn(api.server.clone().maintain(CancellationToken::new()));
    let mut events = api.watch(&format!("{DEFINITIONS}?watch=true")).await;
    api.post(DEFINITIONS, definition(client.clone(), "v1")).await.is(201);
    loop {
        let definition = events.next().await.expect("an event");
        let mut conditions = definition["object"]["status"]["conditions"].as_array().into_iter().flatten();
        if conditions.any(|c| c["type"] == "Established" && c["status"] == "True") {
            return (api, client);
        }
    }
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn every_verb_speaks_the_version_of_the_url() {
    let (api, _) = defined().await;
    let made = json!({"apiVersion": "example.com/v2", "spec": {"colour": "red", "color": null}});
    api.post(V2, widget("a", json!({"colour": "red"}))).await.is(201).has(made.clone());
    api.get(&format!("{V2}/a")).await.is(200).has(made);
    api.get(&format!("{V1}/a")).await.is(200).has(json!({"apiVersion": "example.com/v1",
        "spec": {"color": "red", "colour": null}, "metadata": {"labels": {"seen": "example.com_v1"}}}));
    api.post(V1, widget("b", json!({"color": "blue"}))).await.is(201);
    for (path, field) in [(V1, "color"), (V2, "colour")] {
        let list = api.get(path).await.is(200).json();
        let colors: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|item| &item["spec"][field]).collect();
        assert_eq!(colors, ["red", "blue"]);
        let list = api.get(&format!("{path}?fieldSelector=spec.{field}%3Dblue")).await.is(200).json();
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
    }
    api.patch(&format!("{V2}/a"), "merge", json!({"spec": {"colour": "green"}}))
        .await
        .is(200)
        .has(json!({"spec": {"colour": "green"}}));
    api.get(&format!("{V1}/a")).await.is(200).has(json!({"spec": {"color": "green"}}));
    api.delete(&format!("{V2}/a")).await.is(200);
    api.get(&format!("{V1}/a")).await.is(404);
}

#[tokio::test]
async fn watchers_see_their_own_version() {
    let (api, _) = defined().await;
    api.post(V1, widget("a", json!({"color": "red"}))).await.is(201);
    let mut events = api.watch(&format!("{V2}?watch=true&fieldSelector=spec.colour%3Dred")).await;
    let first = events.next().await.unwrap();
    assert_eq!((&first["type"], &first["object"]["spec"]["colour"]), (&json!("ADDED"), &json!("red")));
    api.patch(&format!("{V1}/a"), "merge", json!({"spec": {"size": 1}})).await.is(200);
    let next = events.next().await.unwrap();
    assert_eq!((&next["type"], &next["object"]["spec"]), (&json!("MODIFIED"), &json!({"colour": "red", "size": 1})));
    api.patch(&format!("{V1}/a"), "merge", json!({"spec": {"color": "blue"}})).await.is(200);
    let last = events.next().await.unwrap();
    assert_eq!((&last["type"], &last["object"]["spec"]["colour"]), (&json!("DELETED"), &json!("red")));
}

#[tokio::test]
async fn what_cannot_be_converted_is_said() {
    let (api, _) = defined().await;
    let failed = "conversion webhook for example.com/v2, Kind=Widget failed: no way";
    api.post(V2, widget("broken", json!({}))).await.fails(500, failed);
    api.post(V1, widget("broken", json!({}))).await.is(201);
    let failed = "conversion webhook for example.com/v1, Kind=Widget failed: no way";
    api.get(&format!("{V2}/broken")).await.fails(500, failed);
    api.get(V2).await.fails(500, failed);
    api.delete(&format!("{V2}/broken")).await.fails(500, failed);
    api.delete(&format!("{V1}/broken")).await.is(200);
}

#[tokio::test]
async fn a_revision_is_converted_once_for_all_who_read_it() {
    let converted = Arc::new(AtomicUsize::new(0));
    let counted = converted.clone();
    let (api, _) = defined_with(move |review| {
        counted.fetch_add(review["request"]["objects"].as_array().unwrap().len(), Ordering::Relaxed);
        convert(review)
    })
    .await;
    let mut watchers = Vec::new();
    for _ in 0..3 {
        watchers.push(api.watch(&format!("{V2}?watch=true")).await);
    }
    api.post(V1, widget("a", json!({"color": "red"}))).await.is(201);
    for next in futures_util::future::join_all(watchers.iter_mut().map(harness::Events::next)).await {
        assert_eq!(next.unwrap()["object"]["spec"]["colour"], "red");
    }
    api.get(&format!("{V2}/a")).await.is(200);
    api.get(V2).await.is(200);
    assert_eq!(converted.load(Ordering::Relaxed), 1);
}

/// A webhook's configuration whose rules name one version of widgets.
fn admission(name: &str, client: &Value, version: &str) -> Value {
    json!({"metadata": {"name": name}, "webhooks": [{"name": format!("{name}.example.com"), "clientConfig": client,
        "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "rules": [{"operations": ["*"], "apiGroups": ["example.com"], "apiVersions": [version], "resources": ["widgets"]}]}]})
}

#[tokio::test]
async fn admission_sees_the_version_its_rules_name() {
    const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
    let (api, _) = defined().await;
    let mutating = hook::serve(|review| {
        let request = &review["request"];
        assert_eq!((&request["kind"]["version"], &request["requestKind"]["version"]), (&json!("v1"), &json!("v2")));
        assert_eq!(
            (&request["resource"]["version"], &request["requestResource"]["version"]),
            (&json!("v1"), &json!("v2"))
        );
        assert_eq!(
            (&request["object"]["apiVersion"], &request["object"]["spec"]["color"]),
            (&json!("example.com/v1"), &json!("red"))
        );
        let patch = json!([{"op": "replace", "path": "/spec/color", "value": "blue"}]).to_string();
        let patch = base64::engine::general_purpose::STANDARD.encode(patch);
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
               "response": {"uid": request["uid"], "allowed": true, "patch": patch, "patchType": "JSONPatch"}})
    })
    .await;
    api.post(&format!("{GROUP}/mutatingwebhookconfigurations"), admission("m", &mutating, "v1")).await.is(201);
    let validating = hook::serve(|review| {
        let request = &review["request"];
        let blue = request["object"]["spec"] == json!({"color": "blue"});
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
               "response": {"uid": request["uid"], "allowed": blue}})
    })
    .await;
    api.post(&format!("{GROUP}/validatingwebhookconfigurations"), admission("v", &validating, "v1")).await.is(201);
    let constraints = json!({"resourceRules": [{"apiGroups": ["example.com"], "apiVersions": ["v1"],
        "operations": ["CREATE"], "resources": ["widgets"]}]});
    let policy = json!({"matchConstraints": constraints, "validations": [
        {"expression": "object.spec.color == 'blue' && request.kind.version == 'v1' && request.requestKind.version == 'v2'"}]});
    let binding = json!({"policyName": "p", "validationActions": ["Deny"]});
    api.post(&format!("{GROUP}/validatingadmissionpolicies"), json!({"metadata": {"name": "p"}, "spec": policy}))
        .await
        .is(201);
    api.post(
        &format!("{GROUP}/validatingadmissionpolicybindings"),
        json!({"metadata": {"name": "p"}, "spec": binding}),
    )
    .await
    .is(201);
    let mutation = json!({"matchConstraints": constraints, "reinvocationPolicy": "Never", "mutations": [{
        "patchType": "JSONPatch",
        "jsonPatch": {"expression": "[JSONPatch{op: 'add', path: '/metadata/annotations', value: {'was': object.spec.color}}]"}}]});
    api.post(&format!("{GROUP}/mutatingadmissionpolicies"), json!({"metadata": {"name": "p"}, "spec": mutation}))
        .await
        .is(201);
    api.post(
        &format!("{GROUP}/mutatingadmissionpolicybindings"),
        json!({"metadata": {"name": "p"}, "spec": {"policyName": "p"}}),
    )
    .await
    .is(201);
    api.post(V2, widget("a", json!({"colour": "red"}))).await.is(201).has(json!({
        "apiVersion": "example.com/v2", "spec": {"colour": "blue"}, "metadata": {"annotations": {"was": "red"}}}));
}
