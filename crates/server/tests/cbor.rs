//! CBOR behind its gate (KEP 4222).

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use std::sync::Arc;

use harness::{AllowAll, Answer, Api, missing};
use http_body_util::BodyExt as _;
use orlop_api::codec::cbor::{encode, from_cbor};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const CBOR: &str = "application/cbor";
const HEADERS: [(&str, &str); 3] = [("content-type", CBOR), ("accept", CBOR), ("user-agent", "tester/1.0")];

/// A server whose gate is on.
async fn api() -> Api {
    let api = harness::with(Arc::new(AllowAll::default()), |config| config.features.cbor = true).await;
    post(&api, "/api/v1/namespaces", json!({"metadata": {"name": "default"}})).await.is(201);
    let account = json!({"metadata": {"name": "default"}});
    post(&api, "/api/v1/namespaces/default/serviceaccounts", account).await.is(201);
    api
}

async fn post(api: &Api, path: &str, object: Value) -> Answer {
    api.send("POST", path, &HEADERS, encode(&object)).await
}

fn map(name: &str) -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": {"a": "1"}})
}

/// What the answer says, which must be CBOR.
#[track_caller]
fn read(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), CBOR);
    assert_eq!(answer.bytes[..3], [0xd9, 0xd9, 0xf7]);
    from_cbor(&answer.bytes).unwrap()
}

#[track_caller]
fn has(answer: &Answer, want: &Value) {
    let got = read(answer);
    assert_eq!(missing(&got, want, ""), None, "{got:#}");
}

#[tokio::test]
async fn without_the_gate_there_is_none() {
    let api = harness::api().await;
    let unknown = "the body of the request was in an unknown format - accepted media types include: application/json, \
                   application/yaml, application/vnd.kubernetes.protobuf";
    api.send("POST", MAPS, &[("content-type", CBOR)], encode(&map("x"))).await.fails(415, unknown);
    let refused = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
                   application/vnd.kubernetes.protobuf";
    api.get_as(&format!("{MAPS}/x"), CBOR).await.fails(406, refused);
    api.patch(&format!("{MAPS}/x"), "application/apply-patch+cbor", json!({})).await.is(415);
    api.get_as("/apis", CBOR).await.is(406);
    let metrics = api.get("/metrics").await.is(200).text();
    assert!(metrics.contains("kubernetes_feature_enabled{name=\"CBORServingAndStorage\",stage=\"ALPHA\"} 0\n"));
}

#[tokio::test]
async fn bodies_and_answers() {
    let api = api().await;
    let made = post(&api, MAPS, map("x")).await.is(201);
    has(&made, &json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "1"}}));
    api.get(&format!("{MAPS}/x")).await.is(200).has(json!({"data": {"a": "1"}}));
    let got = api.get_as(&format!("{MAPS}/x"), CBOR).await.is(200);
    assert_eq!(got.bytes, made.bytes);
    let mut changed = read(&got);
    changed["data"]["b"] = "2".into();
    let put = api.send("PUT", &format!("{MAPS}/x"), &HEADERS, encode(&changed)).await.is(200);
    has(&put, &json!({"data": {"a": "1", "b": "2"}}));
    let list = api.get_as(MAPS, CBOR).await.is(200);
    has(&list, &json!({"kind": "ConfigMapList", "apiVersion": "v1", "items": [{"data": {"b": "2"}}]}));
    assert_eq!(read(&list), api.get(MAPS).await.json());
    let missing = api.get_as(&format!("{MAPS}/none"), CBOR).await.is(404);
    has(&missing, &json!({"kind": "Status", "reason": "NotFound", "code": 404}));
    // Who has a choice gets JSON, unless CBOR comes first.
    assert_eq!(api.get_as(MAPS, "application/json, application/cbor").await.header("content-type"), "application/json");
    assert_eq!(api.get_as(MAPS, "application/cbor, application/json;q=0.9").await.header("content-type"), CBOR);
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}});
    api.send("DELETE", &format!("{MAPS}/x"), &HEADERS, encode(&options)).await.is(409);
    api.send("DELETE", &format!("{MAPS}/x"), &HEADERS, encode(&json!({}))).await.is(200);
}

#[tokio::test]
async fn pages_about_the_process() {
    let api = api().await;
    let flags = api.get_as("/flagz", "application/cbor;v=v1beta1;g=config.k8s.io;as=Flagz").await.is(200);
    has(&flags, &json!({"kind": "Flagz", "apiVersion": "config.k8s.io/v1beta1", "metadata": {"name": "apiserver"}}));
    let status = api.get_as("/statusz", "application/cbor;v=v1alpha1;g=config.k8s.io;as=Statusz").await.is(200);
    has(&status, &json!({"kind": "Statusz", "binaryVersion": "1.37"}));
    let refused = api.get_as("/statusz", CBOR).await.is(406);
    let accepted = "application/json, application/yaml, text/plain, application/cbor";
    has(&refused, &json!({"message": format!("only the following media types are accepted: {accepted}")}));
}

#[tokio::test]
async fn bytes_go_as_they_are() {
    let api = api().await;
    let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "data": {"k": "AAH/"}});
    let made = post(&api, "/api/v1/namespaces/default/secrets", secret.clone()).await.is(201);
    assert!(made.bytes.windows(7).any(|bytes| *bytes == [0x41, b'k', 0xd6, 0x43, 0, 1, 0xff]));
    has(&made, &secret);
    api.get("/api/v1/namespaces/default/secrets/s").await.has(json!({"data": {"k": "AAH/"}}));
}

#[tokio::test]
async fn bodies_that_are_no_object() {
    let api = api().await;
    let cases = [
        (
            b"\xa1".to_vec(),
            "the object provided is unrecognized (must be of type ConfigMap): unable to determine group/version/kind: \
             unexpected EOF (a1)",
        ),
        (
            encode(&json!({"data": ["x"]})),
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: cbor: cannot unmarshal array into Go struct \
             field v1.ConfigMap.data of type map[string]string",
        ),
        (
            b"\xa1Dkind\xa2AaAbAaAb".to_vec(),
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: cbor: found duplicate map key \"a\" at map \
             element index 1",
        ),
    ];
    for (body, want) in cases {
        let answer = api.send("POST", MAPS, &[("content-type", CBOR)], body).await;
        answer.fails(400, want);
    }
    let unknown = json!({"metadata": {"name": "x"}, "nothing": 1});
    let strict = api.send("POST", &format!("{MAPS}?fieldValidation=Strict"), &HEADERS, encode(&unknown)).await.is(400);
    let want = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: cbor: found unknown \
                field at map element index 0";
    has(&strict, &json!({"message": want}));
    let warned = post(&api, MAPS, unknown).await.is(201);
    assert_eq!(warned.header("warning"), "299 - \"cbor: found unknown field at map element index 0\"");
}

#[tokio::test]
async fn subresources_and_partial_metadata() {
    let api = api().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    post(&api, PODS, pod).await.is(201);
    let binding = json!({"kind": "Binding", "apiVersion": "v1", "metadata": {"name": "p"},
                         "target": {"kind": "Node", "name": "n"}});
    post(&api, &format!("{PODS}/p/binding"), binding).await.is(201);
    // Upstream makes Tables of JSON alone.
    api.get_as(PODS, &format!("{CBOR};as=Table;g=meta.k8s.io;v=v1")).await.is(406);
    let partial = format!("{CBOR};as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
    let one = api.get_as(&format!("{PODS}/p"), &partial).await.is(200);
    has(&one, &json!({"kind": "PartialObjectMetadata", "metadata": {"name": "p"}}));
    let partial = format!("{CBOR};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let list = api.get_as(PODS, &partial).await.is(200);
    has(&list, &json!({"kind": "PartialObjectMetadataList", "items": [{"metadata": {"name": "p"}}]}));
    let eviction = json!({"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "p"}});
    post(&api, &format!("{PODS}/p/eviction"), eviction).await.is(201);
}

#[tokio::test]
async fn applied_and_patched() {
    let api = api().await;
    let path = format!("{MAPS}/x?fieldManager=me");
    let apply = [("content-type", "application/apply-patch+cbor"), ("accept", CBOR)];
    let applied = api.send("PATCH", &path, &apply, encode(&map("x"))).await.is(201);
    has(
        &applied,
        &json!({"data": {"a": "1"}, "metadata": {"managedFields": [{"manager": "me", "operation": "Apply"}]}}),
    );
    let again = api.send("PATCH", &path, &apply, encode(&map("x"))).await.is(200);
    assert_eq!(again.bytes, applied.bytes);
    let broken = api.send("PATCH", &path, &apply, "\u{1}").await.is(400);
    let why =
        "error decoding patch: cbor: cannot unmarshal positive integer into Go value of type map[string]interface {}";
    has(&broken, &json!({"message": why}));
    let merge = [("content-type", "application/merge-patch+json"), ("accept", CBOR)];
    let merged = api.send("PATCH", &path, &merge, r#"{"data":{"b":"2"}}"#).await.is(200);
    has(&merged, &json!({"data": {"a": "1", "b": "2"}}));
}

/// The next event of a watch in CBOR, whole in its chunk.
async fn next(body: &mut orlop_client::transport::Body) -> Value {
    from_cbor(&body.frame().await.unwrap().unwrap().into_data().unwrap()).unwrap()
}

#[tokio::test]
async fn watches_are_sequences() {
    let api = api().await;
    post(&api, MAPS, map("x")).await.is(201);
    let response = api.open("GET", &format!("{MAPS}?watch=true"), &[("accept", CBOR)], "").await;
    assert_eq!(response.headers()["content-type"], "application/cbor-seq");
    let mut body = response.into_body();
    let event = next(&mut body).await;
    assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("x")));
    api.delete(&format!("{MAPS}/x")).await.is(200);
    let event = next(&mut body).await;
    assert_eq!((&event["type"], &event["object"]["data"]), (&json!("DELETED"), &json!({"a": "1"})));
    let partial = format!("{CBOR};as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
    let response = api.open("GET", &format!("{MAPS}?watch=true"), &[("accept", &partial)], "").await;
    let mut body = response.into_body();
    post(&api, MAPS, map("y")).await.is(201);
    let event = next(&mut body).await;
    assert_eq!((&event["object"]["metadata"]["name"], &event["object"]["data"]), (&json!("y"), &Value::Null));
    let refused = "only the following media types are accepted: application/json;stream=watch, \
                   application/vnd.kubernetes.protobuf;stream=watch, application/cbor-seq";
    api.get_as(&format!("{MAPS}?watch=true"), "application/cbor-seq").await.fails(406, refused);
    let response = api.open("GET", &format!("{MAPS}?watch=true&resourceVersion=99"), &[("accept", CBOR)], "").await;
    let event = next(&mut response.into_body()).await;
    assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("ERROR"), &json!("Status")));
}

#[tokio::test]
async fn custom_resources_speak_it_too() {
    let api = api().await;
    tokio::spawn(api.server.clone().maintain(CancellationToken::new()));
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "count": {"type": "integer"}, "share": {"type": "number"}, "text": {"type": "string"}}}}});
    let definition = json!({"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"name": "things.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    let made = post(&api, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await.is(201);
    assert_eq!(read(&made)["spec"]["versions"][0]["schema"]["openAPIV3Schema"], schema);
    let established = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?watch=true";
    let mut events = api.watch(established).await;
    while !events.next().await.unwrap()["object"]["status"]["conditions"].to_string().contains("InitialNamesAccepted") {
    }
    let things = "/apis/example.com/v1/namespaces/default/things";
    let thing = json!({"kind": "Thing", "apiVersion": "example.com/v1", "metadata": {"name": "t"},
                       "spec": {"count": 3, "share": 0.5, "text": "x", "unknown": true}});
    let made = post(&api, things, thing).await.is(201);
    assert_eq!(read(&made)["spec"], json!({"count": 3, "share": 0.5, "text": "x"}));
    assert_eq!(made.header("warning"), "", "upstream tells only what it read from JSON");
    let list = api.get_as(things, CBOR).await.is(200);
    has(&list, &json!({"kind": "ThingList", "items": [{"spec": {"count": 3}}]}));
    let unknown = "only the following media types are accepted: application/json, application/yaml, application/cbor";
    api.get_as(things, "text/plain").await.fails(406, unknown);
}

#[tokio::test]
async fn discovery_speaks_it_too() {
    let api = api().await;
    has(&api.get_as("/apis", CBOR).await.is(200), &json!({"kind": "APIGroupList"}));
    has(&api.get_as("/api/v1", CBOR).await.is(200), &json!({"kind": "APIResourceList", "groupVersion": "v1"}));
    let accept = format!("{CBOR};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let aggregated = api.get_as("/api", &format!("{accept},application/json")).await.is(200);
    assert_eq!(aggregated.header("content-type"), accept);
    assert_eq!(from_cbor(&aggregated.bytes).unwrap()["kind"], "APIGroupDiscoveryList");
}
