//! Definitions make kinds that walk the same pipeline as the built-in ones.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use harness::{Api, api};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn definition() -> Value {
    json!({"metadata": {"name": "widgets.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
        "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema()},
             "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                              "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
             "selectableFields": [{"jsonPath": ".spec.color"}],
             "additionalPrinterColumns": [{"name": "Color", "type": "string", "jsonPath": ".spec.color"}]},
            {"name": "v2", "served": true, "storage": false, "schema": {"openAPIV3Schema": schema()},
             "selectableFields": [{"jsonPath": ".spec.color"}]},
        ],
    }})
}

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "color": {"type": "string", "enum": ["red", "blue"]},
            "replicas": {"type": "integer", "minimum": 0, "default": 1},
        }},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}},
    }})
}

/// A server that follows definitions.
async fn following() -> Api {
    let api = api().await;
    tokio::spawn(api.server.clone().maintain(CancellationToken::new()));
    api
}

/// Waits until the definition's conditions say so.
async fn until(api: &Api, name: &str, wanted: &str) -> Value {
    let mut events = api.watch(&format!("{DEFINITIONS}?watch=true&fieldSelector=metadata.name%3D{name}")).await;
    loop {
        let definition = events.next().await.expect("an event")["object"].take();
        let mut conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
        if conditions.any(|c| c["type"] == wanted && c["status"] == "True") {
            return definition;
        }
    }
}

async fn defined() -> Api {
    let api = following().await;
    api.post(DEFINITIONS, definition()).await.is(201);
    let definition = until(&api, "widgets.example.com", "Established").await;
    assert_eq!(definition["status"]["acceptedNames"]["listKind"], "WidgetList");
    assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
    api
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn objects_are_pruned_defaulted_validated_and_served() {
    let api = defined().await;
    let sent = widget("a", json!({"color": "red", "odd": 1}));
    let made = api.post(WIDGETS, sent.clone()).await.is(201);
    assert_eq!(made.header("warning"), r#"299 - "unknown field \"spec.odd\"""#);
    made.has(json!({"spec": {"color": "red", "replicas": 1, "odd": null}, "metadata": {"generation": 1}}));
    api.post(&format!("{WIDGETS}?fieldValidation=Strict"), sent).await.fails(
        400,
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.odd\"",
    );
    api.post(WIDGETS, widget("b", json!({"color": "green", "replicas": -1}))).await.fails(
        422,
        "Widget.example.com \"b\" is invalid: [spec.color: Unsupported value: \"green\": supported values: \"red\", \"blue\", \
         spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0, .spec.replicas: \
         Invalid value: -1: should be a non-negative integer]",
    );
    let table = api.get_as(WIDGETS, "application/json;as=Table;v=v1;g=meta.k8s.io").await.is(200).json();
    assert_eq!(table["rows"][0]["cells"], json!(["a", "red"]));
    for (color, count) in [("red", 1), ("blue", 0)] {
        let list = api.get(&format!("{WIDGETS}?fieldSelector=spec.color%3D{color}")).await.is(200).json();
        assert_eq!(list["items"].as_array().unwrap().len(), count);
    }
    api.get("/apis/example.com/v2/namespaces/default/widgets/a")
        .await
        .is(200)
        .has(json!({"apiVersion": "example.com/v2"}));
}

#[tokio::test]
async fn status_and_scale_are_subresources() {
    let api = defined().await;
    api.post(WIDGETS, widget("a", json!({"replicas": 2}))).await.is(201);
    let path = format!("{WIDGETS}/a");
    let status = json!({"spec": {"replicas": 9}, "status": {"replicas": 1, "selector": "x=y"}});
    api.patch(&format!("{path}/status"), "merge", status).await.is(200).has(json!({
        "spec": {"replicas": 2}, "status": {"replicas": 1}, "metadata": {"generation": 1}}));
    api.get(&format!("{path}/scale")).await.is(200).has(json!({
        "kind": "Scale", "spec": {"replicas": 2}, "status": {"replicas": 1, "selector": "x=y"}}));
    api.patch(&format!("{path}/scale"), "merge", json!({"spec": {"replicas": 5}})).await.is(200);
    api.get(&path)
        .await
        .has(json!({"spec": {"replicas": 5}, "metadata": {"generation": 2}, "status": {"replicas": 1}}));
    api.patch(&path, "merge", json!({"status": {"replicas": 7}})).await.is(200).has(json!({"status": {"replicas": 1}}));
    api.patch(&path, "strategic", json!({})).await.is(415);
    let applied =
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"color": "red"}});
    api.patch(&format!("{path}?fieldManager=m&force=true"), "apply", applied)
        .await
        .is(200)
        .has(json!({"spec": {"color": "red", "replicas": 5}}));
}

#[tokio::test]
async fn a_changed_schema_shows_on_what_is_stored() {
    let api = defined().await;
    api.post(WIDGETS, widget("a", json!({"color": "red"}))).await.is(201);
    let mut watch = api.watch(&format!("{WIDGETS}?watch=true")).await;
    assert_eq!(watch.brief().await, "ADDED a");
    let change = json!([
        {"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size",
         "value": {"type": "string", "default": "M"}},
        {"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/color"},
        {"op": "remove", "path": "/spec/versions/0/selectableFields"},
        {"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true},
    ]);
    api.patch(&format!("{DEFINITIONS}/widgets.example.com"), "json", change).await.is(200).has(json!({
        "status": {"storedVersions": ["v1", "v2"]}}));
    assert!(watch.next().await.is_none(), "watches of the old schema end");
    let read = api.get(&format!("{WIDGETS}/a")).await.is(200);
    read.has(json!({"apiVersion": "example.com/v1", "spec": {"size": "M", "color": null, "replicas": 1}}));
    let list = api.get(WIDGETS).await.is(200).json();
    assert_eq!(list["items"][0]["spec"]["size"], "M");
    api.patch(&format!("{WIDGETS}/a"), "merge", json!({"spec": {"replicas": 3}})).await.is(200).has(json!({
        "spec": {"size": "M", "replicas": 3}}));
}

#[tokio::test]
async fn discovery_and_openapi_publish_what_is_defined() {
    let api = defined().await;
    let list = api.get("/apis/example.com/v1").await.is(200).json();
    let names: Vec<&str> = list["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["widgets", "widgets/scale", "widgets/status"]);
    let v3 = api.get("/openapi/v3/apis/example.com/v1").await.is(200).json();
    assert_eq!(
        v3["components"]["schemas"]["com.example.v1.Widget"]["properties"]["spec"]["properties"]["replicas"]["default"],
        1
    );
    let v2 = api.get("/openapi/v2").await.is(200).json();
    assert!(v2["definitions"]["com.example.v1.Widget"].is_object());
}

#[tokio::test]
async fn a_definition_takes_its_objects_with_it() {
    let api = defined().await;
    let mut held = widget("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(WIDGETS, held).await.is(201);
    api.post(WIDGETS, widget("free", json!({}))).await.is(201);
    api.delete(&format!("{DEFINITIONS}/widgets.example.com")).await.is(200);
    until(&api, "widgets.example.com", "Terminating").await;
    let mut watch = api.watch(&format!("{WIDGETS}?watch=true&fieldSelector=metadata.name%3Dheld")).await;
    loop {
        let event = watch.next().await.expect("the object stays for now");
        if event["object"]["metadata"]["deletionTimestamp"].is_string() {
            break;
        }
    }
    api.post(WIDGETS, widget("late", json!({}))).await.is(405);
    let mut gone =
        api.watch(&format!("{DEFINITIONS}?watch=true&fieldSelector=metadata.name%3Dwidgets.example.com")).await;
    api.patch(&format!("{WIDGETS}/held"), "merge", json!({"metadata": {"finalizers": null}})).await.is(200);
    while gone.next().await.expect("it goes")["type"] != "DELETED" {}
    api.get(&format!("{DEFINITIONS}/widgets.example.com")).await.is(404);
}

#[tokio::test]
async fn wrong_definitions_are_refused_in_upstreams_words() {
    let api = api().await;
    let mut wrong = definition();
    wrong["metadata"]["name"] = "others.example.com".into();
    wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["bad"] = json!({});
    wrong["spec"]["versions"][1]["storage"] = true.into();
    let answer = api.post(DEFINITIONS, wrong).await.is(422).json();
    let causes: Vec<String> = answer["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| format!("{}: {}", cause["field"].as_str().unwrap(), cause["message"].as_str().unwrap()))
        .collect();
    assert_eq!(
        causes[0],
        "metadata.name: Invalid value: \"others.example.com\": must be spec.names.plural+\".\"+spec.group"
    );
    assert_eq!(
        causes[1],
        "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[bad].type: Required value: must not be empty for \
         specified object fields"
    );
    assert!(causes[2].ends_with("must have exactly one version marked as storage version"), "{}", causes[2]);
}

const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

#[tokio::test]
async fn served_versions_have_api_services() {
    let api = following().await;
    let mut events =
        api.watch(&format!("{API_SERVICES}?watch=true&fieldSelector=metadata.name%3Dv1.example.com")).await;
    let mut others =
        api.watch(&format!("{API_SERVICES}?watch=true&fieldSelector=metadata.name%3Dv2.example.com")).await;
    api.post(DEFINITIONS, definition()).await.is(201);
    let made = events.next().await.unwrap();
    assert_eq!(made["object"]["metadata"]["labels"], json!({"kube-aggregator.kubernetes.io/automanaged": "true"}));
    let spec = json!({"group": "example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 100});
    assert_eq!(made["object"]["spec"], spec);
    assert_eq!(made["object"]["status"]["conditions"][0]["reason"], "Local");
    assert_eq!(others.next().await.unwrap()["type"], "ADDED");

    api.delete(&format!("{API_SERVICES}/v1.example.com")).await.is(200);
    let types = [events.next().await.unwrap()["type"].take(), events.next().await.unwrap()["type"].take()];
    assert_eq!(types, ["DELETED", "ADDED"], "who deletes it finds it again");

    let not_served = json!([{"op": "replace", "path": "/spec/versions/1/served", "value": false}]);
    api.patch(&format!("{DEFINITIONS}/widgets.example.com"), "json", not_served).await.is(200);
    assert_eq!(others.next().await.unwrap()["type"], "DELETED");
    api.delete(&format!("{DEFINITIONS}/widgets.example.com")).await.is(200);
    assert_eq!(events.next().await.unwrap()["type"], "DELETED");
}
