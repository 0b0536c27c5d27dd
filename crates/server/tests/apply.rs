//! Field ownership through the server.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use harness::api;
use serde_json::json;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn apply_creates_merges_conflicts_and_forces() {
    let api = api().await;
    let path = format!("{MAPS}/x");
    let applied =
        |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": value}});
    let made = api.patch(&format!("{path}?fieldManager=one"), "apply", applied("1")).await.is(201);
    made.has(json!({"metadata": {"managedFields": [{"manager": "one", "operation": "Apply", "apiVersion": "v1",
                    "fieldsV1": {"f:data": {"f:a": {}}}}]}}));
    let again = api.patch(&format!("{path}?fieldManager=one"), "apply", applied("1")).await.is(200).json();
    let rv = again["metadata"]["resourceVersion"].clone();
    api.patch(&format!("{path}?fieldManager=one"), "apply", applied("1"))
        .await
        .is(200)
        .has(json!({"metadata": {"resourceVersion": rv}}));
    let refused = api.patch(&format!("{path}?fieldManager=two"), "apply", applied("2")).await.is(409).json();
    assert_eq!(refused["message"], "Apply failed with 1 conflict: conflict with \"one\": .data.a");
    api.patch(&format!("{path}?fieldManager=two&force=true"), "apply", applied("2"))
        .await
        .is(200)
        .has(json!({"data": {"a": "2"}}));
    api.patch(&path, "apply", applied("3")).await.fails(
        422,
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
    );
}

#[tokio::test]
async fn other_writes_are_remembered_too() {
    let api = api().await;
    api.post(MAPS, json!({"metadata": {"name": "x"}, "data": {"a": "1"}})).await.is(201).has(json!({
        "metadata": {"managedFields": [{"manager": "tester", "operation": "Update", "fieldsV1": {"f:data": {"f:a": {}}}}]},
    }));
    // Entries are ordered by time and then by manager: this name comes later by either, whenever a second ends.
    let path = format!("{MAPS}/x?fieldManager=writer");
    api.patch(&path, "merge", json!({"data": {"b": "2"}})).await.is(200).has(json!({
        "metadata": {"managedFields": [{"manager": "tester"}, {"manager": "writer"}]},
    }));
}

#[tokio::test]
async fn scale_owns_replicas() {
    let api = api().await;
    let path = "/apis/apps/v1/namespaces/default/deployments/d";
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
                 "spec": {"containers": [{"name": "c", "image": "i"}]}}},
    });
    api.patch(&format!("{path}?fieldManager=one"), "apply", deployment.clone()).await.is(201);
    let scaled = api.patch(&format!("{path}/scale?fieldManager=hpa"), "merge", json!({"spec": {"replicas": 4}})).await;
    scaled.is(200);
    let stored = api.get(path).await.json();
    let owners = stored["metadata"]["managedFields"].as_array().unwrap();
    let hpa = owners.iter().find(|o| o["manager"] == "hpa").unwrap();
    assert_eq!((&hpa["subresource"], &hpa["fieldsV1"]), (&json!("scale"), &json!({"f:spec": {"f:replicas": {}}})));
    let refused = api.patch(&format!("{path}?fieldManager=one"), "apply", deployment).await.is(409).json();
    assert!(refused["message"].as_str().unwrap().contains("\"hpa\" with subresource \"scale\""), "{refused}");
}
