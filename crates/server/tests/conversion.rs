//! Custom resources that a webhook converts between versions.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

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
