//! Clients of 2025 and later speak protobuf.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use harness::{Api, api};
use http_body_util::BodyExt as _;
use orlop_api::codec::protobuf;
use orlop_api::schema::builtin;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

fn encode(object: &Value) -> Vec<u8> {
    let schema = builtin().of(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap();
    protobuf::encode(object, schema.get())
}

async fn post(api: &Api, path: &str, object: Value) -> harness::Answer {
    api.send("POST", path, &[("content-type", PROTOBUF), ("accept", PROTOBUF)], encode(&object)).await
}

fn map(name: &str) -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": {"a": "1"}})
}

#[tokio::test]
async fn bodies_and_answers() {
    let api = api().await;
    let made = post(&api, MAPS, map("x")).await.is(201);
    assert_eq!(made.header("content-type"), PROTOBUF);
    let (api_version, kind, object) = protobuf::decode(&made.bytes).unwrap();
    assert_eq!((api_version.as_str(), kind.as_str(), &object["data"]["a"]), ("v1", "ConfigMap", &json!("1")));
    api.get(&format!("{MAPS}/x")).await.is(200).has(json!({"data": {"a": "1"}}));
    let listed = api.get_as(MAPS, PROTOBUF).await.is(200);
    let (_, kind, list) = protobuf::decode(&listed.bytes).unwrap();
    assert_eq!((kind.as_str(), &list["items"][0]["metadata"]["name"]), ("ConfigMapList", &json!("x")));
    let missing = api.get_as(&format!("{MAPS}/none"), PROTOBUF).await.is(404);
    let (_, kind, status) = protobuf::decode(&missing.bytes).unwrap();
    assert_eq!((kind.as_str(), &status["reason"]), ("Status", &json!("NotFound")));
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
    let headers = [("content-type", PROTOBUF), ("accept", PROTOBUF)];
    api.send("DELETE", &format!("{MAPS}/x"), &headers, encode(&options)).await.is(200);
}

#[tokio::test]
async fn subresources_and_partial_metadata() {
    let api = api().await;
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"},
                     "spec": {"containers": [{"name": "c", "image": "i"}]}});
    post(&api, "/api/v1/namespaces/default/pods", pod).await.is(201);
    let binding = json!({"kind": "Binding", "apiVersion": "v1", "metadata": {"name": "p"},
                         "target": {"kind": "Node", "name": "n"}});
    post(&api, "/api/v1/namespaces/default/pods/p/binding", binding).await.is(201);
    let eviction = json!({"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "p"}});
    post(&api, "/api/v1/namespaces/default/pods/p/eviction", eviction).await.is(201);
    let partial = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let list = api.get_as("/api/v1/namespaces/default/pods", &partial).await.is(200);
    let (api_version, kind, list) = protobuf::decode(&list.bytes).unwrap();
    assert_eq!((api_version.as_str(), kind.as_str()), ("meta.k8s.io/v1", "PartialObjectMetadataList"));
    assert_eq!(list["items"][0]["metadata"]["name"], "p");
}

#[tokio::test]
async fn watches_in_frames() {
    let api = api().await;
    post(&api, MAPS, map("x")).await.is(201);
    let accept = [("accept", PROTOBUF)];
    let response = api.open("GET", &format!("{MAPS}?watch=true"), &accept, "").await;
    assert_eq!(response.headers()["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
    let frame = response.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    assert_eq!(frame.len(), length + 4);
    let text = String::from_utf8_lossy(&frame);
    assert!(text.contains("ADDED") && text.contains("k8s\0"), "{text}");
}
