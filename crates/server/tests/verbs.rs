//! The generic verbs, request by request.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use std::sync::Arc;

use harness::api;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": "1"}})
}

#[tokio::test]
async fn create_fills_in_what_the_system_sets() {
    let api = api().await;
    let made = api.post(MAPS, map("x")).await.is(201);
    assert_eq!(made.header("content-type"), "application/json");
    assert_eq!(made.header("cache-control"), "no-cache, private");
    assert_eq!(made.header("audit-id").len(), 36);
    let made = made
        .has(json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x", "namespace": "default"},
                    "data": {"a": "1"}}))
        .json();
    for field in ["uid", "creationTimestamp", "resourceVersion"] {
        assert!(made["metadata"][field].is_string(), "{field}");
    }
    assert_eq!(api.get(&format!("{MAPS}/x")).await.is(200).json(), made);
    api.post(MAPS, map("x")).await.fails(409, "configmaps \"x\" already exists");
}

#[tokio::test]
async fn create_refuses_in_upstreams_words() {
    let api = api().await;
    let cases = [
        (
            json!({"metadata": {"name": "x", "namespace": "other"}}),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            json!({"kind": "ConfigMap", "apiVersion": "v2", "metadata": {"name": "x"}}),
            400,
            "ConfigMap in version \"v2\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for version \
             \"v2\" in scheme \"pkg/runtime/scheme.go:111\"",
        ),
        (
            json!({"metadata": {"name": "x", "resourceVersion": "5"}}),
            500,
            "resourceVersion should not be set on objects to be created",
        ),
        (
            json!({"metadata": {}}),
            422,
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
    ];
    for (body, code, message) in cases {
        api.post(MAPS, body).await.fails(code, message);
    }
    api.send("POST", MAPS, &[("content-type", "application/cbor")], "x").await.fails(
        415,
        "the body of the request was in an unknown format - accepted media types include: application/json, \
         application/yaml, application/vnd.kubernetes.protobuf",
    );
    let huge = vec![b' '; 3 * 1024 * 1024 + 1];
    api.send("POST", MAPS, &[], huge).await.fails(413, "Request entity too large: limit is 3145728");
    api.post("/api/v1/configmaps", map("x")).await.is(405);
    api.post("/api/v1/namespaces/default/nothings", map("x")).await.is(404);
    api.send("POST", MAPS, &[("accept", "text/html")], "{}").await.is(406);
}

#[tokio::test]
async fn names_are_generated() {
    let api = api().await;
    let body = json!({"metadata": {"generateName": "pre-"}});
    let (a, b) = (api.post(MAPS, body.clone()).await.is(201).json(), api.post(MAPS, body).await.is(201).json());
    let name = a["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("pre-") && name.len() == 9, "{name}");
    assert_ne!(a["metadata"]["name"], b["metadata"]["name"]);
}

#[tokio::test]
async fn bodies_in_yaml_and_answers_too() {
    let api = api().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yam\ndata:\n  k: v\n";
    let headers = [("content-type", "application/yaml"), ("accept", "application/yaml")];
    let made = api.send("POST", MAPS, &headers, yaml).await.is(201);
    assert_eq!(made.header("content-type"), "application/yaml");
    assert!(made.text().starts_with("apiVersion: v1\ndata:\n  k: v\nkind: ConfigMap\n"), "{}", made.text());
    let pretty = api.get(&format!("{MAPS}/yam?pretty=true")).await.is(200);
    assert!(pretty.text().starts_with("{\n  \"apiVersion\": \"v1\",\n"), "{}", pretty.text());
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let api = api().await;
    api.post(&format!("{MAPS}?dryRun=All"), map("x")).await.is(201).has(json!({"metadata": {"resourceVersion": null}}));
    api.get(&format!("{MAPS}/x")).await.fails(404, "configmaps \"x\" not found");
    api.post(MAPS, map("x")).await.is(201);
    api.post(&format!("{MAPS}?dryRun=All"), map("x")).await.is(409);
    let patch = json!({"data": {"a": "2"}});
    api.patch(&format!("{MAPS}/x?dryRun=All"), "merge", patch).await.is(200).has(json!({"data": {"a": "2"}}));
    api.delete(&format!("{MAPS}/x?dryRun=All")).await.is(200);
    api.get(&format!("{MAPS}/x")).await.is(200).has(json!({"data": {"a": "1"}}));
}

#[tokio::test]
async fn updates_check_versions_and_identity() {
    let api = api().await;
    let path = format!("{MAPS}/x");
    let made = api.post(MAPS, map("x")).await.is(201).json();
    let mut next = made.clone();
    next["data"]["a"] = "2".into();
    let updated = api.put(&path, next.clone()).await.is(200).json();
    assert_ne!(updated["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    api.put(&path, next).await.fails(
        409,
        "Operation cannot be fulfilled on configmaps \"x\": the object has been modified; please apply your changes to \
         the latest version and try again",
    );
    let same = api.put(&path, updated.clone()).await.is(200).json();
    assert_eq!(same, updated, "a write of the same is none");
    let unconditional = json!({"metadata": {"name": "x"}, "data": {"a": "3"}});
    api.put(&path, unconditional).await.is(200).has(json!({"metadata": {"uid": made["metadata"]["uid"]}}));
    api.put(&path, map("y")).await.fails(400, "the name of the object (y) does not match the name on the URL (x)");
    let other = json!({"metadata": {"name": "x", "uid": "nope"}});
    let text = api.put(&path, other).await.is(409).json()["message"].as_str().unwrap().to_owned();
    assert!(text.contains("Precondition failed: UID in precondition: nope, UID in object meta: "), "{text}");
    api.put(&format!("{MAPS}/none"), map("none")).await.fails(404, "configmaps \"none\" not found");
    let mut frozen = updated;
    frozen["metadata"]["resourceVersion"] = "".into();
    frozen["metadata"]["creationTimestamp"] = "2000-01-01T00:00:00Z".into();
    api.put(&path, frozen)
        .await
        .is(200)
        .has(json!({"metadata": {"creationTimestamp": made["metadata"]["creationTimestamp"]}}));
}

#[tokio::test]
async fn generations_count_spec_changes() {
    let api = api().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
                 "spec": {"containers": [{"name": "c", "image": "i"}]}}},
    });
    api.post(path, deployment).await.is(201).has(json!({"metadata": {"generation": 1}}));
    let one = format!("{path}/d");
    api.patch(&one, "merge", json!({"metadata": {"labels": {"x": "y"}}}))
        .await
        .has(json!({"metadata": {"generation": 1}}));
    api.patch(&one, "merge", json!({"spec": {"replicas": 3}}))
        .await
        .is(200)
        .has(json!({"metadata": {"generation": 2}}));
    let status = json!({"status": {"replicas": 3}, "spec": {"replicas": 9}});
    api.patch(&format!("{one}/status"), "merge", status)
        .await
        .is(200)
        .has(json!({"metadata": {"generation": 2}, "spec": {"replicas": 3}, "status": {"replicas": 3}}));
    api.patch(&one, "merge", json!({"status": {"replicas": 7}})).await.has(json!({"status": {"replicas": 3}}));
    let scale = format!("{one}/scale");
    api.get(&scale).await.is(200).has(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "d"}, "spec": {"replicas": 3},
        "status": {"replicas": 3, "selector": "a=b"},
    }));
    api.patch(&scale, "merge", json!({"spec": {"replicas": 5}})).await.is(200).has(json!({"spec": {"replicas": 5}}));
    let mut sent = api.get(&scale).await.json();
    sent["spec"]["replicas"] = 6.into();
    api.put(&scale, sent.clone()).await.is(200).has(json!({"spec": {"replicas": 6}}));
    api.put(&scale, sent).await.is(409);
    api.get(&one).await.has(json!({"metadata": {"generation": 4}, "spec": {"replicas": 6}}));
}

#[tokio::test]
async fn what_is_read_back_has_its_defaults() {
    let api = api().await;
    let node = json!({"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "2"}, "allocatable": {}}});
    // An empty map is none once it is stored, and none is as much as there is.
    api.post("/api/v1/nodes", node).await.is(201).has(json!({"status": {"allocatable": {"cpu": "2"}}}));
}

#[tokio::test]
async fn patches_of_all_kinds() {
    let api = api().await;
    let path = format!("{MAPS}/x");
    api.post(MAPS, map("x")).await.is(201);
    let ops = json!([{"op": "add", "path": "/data/b", "value": "2"}]);
    api.patch(&path, "json", ops).await.is(200).has(json!({"data": {"a": "1", "b": "2"}}));
    api.patch(&path, "merge", json!({"data": {"a": null}})).await.is(200).has(json!({"data": {"a": null, "b": "2"}}));
    let strategic = json!({"metadata": {"labels": {"l": "m"}}});
    api.patch(&path, "strategic", strategic).await.is(200).has(json!({"metadata": {"labels": {"l": "m"}}}));
    let refused = api.patch(&path, "application/json", json!({})).await;
    refused.fails(415, "415: Unsupported Media Type").has(json!({"details": {}}));
    let typed = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    api.patch(&path, "merge", json!({"kind": null})).await.is(200).has(typed.clone());
    api.patch(&path, "strategic", json!({"apiVersion": null, "kind": null})).await.is(200).has(typed);
    let nameless = api.patch(&path, "merge", json!({"apiVersion": null})).await;
    assert!(nameless.header("warning").contains(r#"unknown field \"data\""#));
    nameless.fails(400, "the name of the object (x based on URL) was undeterminable: name must be provided");
    api.patch(&format!("{MAPS}/none"), "merge", json!([])).await.fails(404, "configmaps \"none\" not found");
    let no_object = "json: cannot unmarshal array into Go value of type map[string]interface {}";
    api.patch(&path, "merge", json!([])).await.fails(400, &format!("error decoding patch: {no_object}"));
    api.patch(&path, "strategic", json!([])).await.fails(400, no_object);
    api.patch(&format!("{MAPS}/none"), "merge", json!({})).await.fails(404, "configmaps \"none\" not found");
    api.patch(&path, "json", json!([{"op": "test", "path": "/data/b", "value": "9"}])).await.is(422);
    api.send("PATCH", &path, &[("content-type", "application/merge-patch+json")], "{")
        .await
        .fails(400, "invalid JSON patch");
    let unknown = json!({"daat": {"a": "b"}});
    let warned = api.patch(&path, "merge", unknown.clone()).await.is(200);
    assert_eq!(warned.header("warning"), r#"299 - "unknown field \"daat\"""#);
    let strict = api.patch(&format!("{path}?fieldValidation=Strict"), "merge", unknown).await.is(422).json();
    let text = strict["message"].as_str().unwrap();
    assert!(text.ends_with("strict decoding error: unknown field \"daat\""), "{text}");
}

#[tokio::test]
async fn deletes_answer_and_hold_as_upstream() {
    let api = api().await;
    let path = format!("{MAPS}/x");
    let made = api.post(MAPS, map("x")).await.json();
    let gone = api.delete(&path).await.is(200).json();
    assert_eq!(
        gone,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
               "details": {"name": "x", "kind": "configmaps", "uid": made["metadata"]["uid"]}})
    );
    api.delete(&path).await.fails(404, "configmaps \"x\" not found");

    let mut held = map("x");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(MAPS, held).await.is(201);
    let marked = api.delete(&path).await.is(200).has(json!({"kind": "ConfigMap"})).json();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    api.post(MAPS, map("x")).await.fails(409, "object is being deleted: configmaps \"x\" already exists");
    let add = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    api.patch(&path, "merge", add).await.is(422);
    api.patch(&path, "merge", json!({"metadata": {"finalizers": null}})).await.is(200);
    api.get(&path).await.is(404);

    api.post(MAPS, map("x")).await.is(201);
    let wrong = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "nope"}});
    api.delete_with(&path, wrong).await.is(409);
    let orphan = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Orphan"});
    api.delete_with(&path, orphan).await.is(200).has(json!({"metadata": {"finalizers": ["orphan"]}}));
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let api = api().await;
    for (name, label) in [("a", "1"), ("b", "2"), ("c", "1")] {
        let mut object = map(name);
        object["metadata"]["labels"] = json!({ "l": label });
        api.post(MAPS, object).await.is(201);
    }
    let gone = api.delete(&format!("{MAPS}?labelSelector=l%3D1")).await.is(200).json();
    assert_eq!((gone["kind"].as_str(), gone["items"].as_array().unwrap().len()), (Some("ConfigMapList"), 2));
    let left = api.get(MAPS).await.json();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn pods_leave_gracefully() {
    let api = api().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    api.post(pods, pod.clone()).await.is(201).has(json!({"status": {"phase": "Pending"}}));
    let path = format!("{pods}/p");
    let bind = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    api.post(&format!("{path}/binding"), bind.clone())
        .await
        .is(201)
        .has(json!({"kind": "Status", "status": "Success"}));
    api.get(&path).await.has(json!({"spec": {"nodeName": "n1"}, "status": {"conditions": [{"type": "PodScheduled"}]}}));
    api.post(&format!("{path}/binding"), bind)
        .await
        .fails(409, "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\"");
    let leaving = api.delete(&path).await.is(200).json();
    assert_eq!(leaving["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(leaving["metadata"]["deletionTimestamp"].is_string());
    api.delete_with(&path, json!({"gracePeriodSeconds": 0})).await.is(200).has(json!({"kind": "Pod"}));
    api.get(&path).await.is(404);
    api.post(pods, pod).await.is(201);
    api.delete(&path).await.is(200);
    api.get(&path).await.fails(404, "pods \"p\" not found");
}

#[tokio::test]
async fn a_json_patch_adds_to_a_status_that_nobody_wrote_yet() {
    let api = api().await;
    let migrations = "/apis/storagemigration.k8s.io/v1/storageversionmigrations";
    let migration = json!({"metadata": {"name": "m"}, "spec": {"resource": {"group": "", "resource": "foos"}}});
    api.post(migrations, migration).await.is(201).has(json!({"status": {}}));
    let condition = json!({"type": "T", "status": "True", "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let add = json!([{"op": "add", "path": "/status/conditions", "value": [condition]}]);
    api.patch(&format!("{migrations}/m/status"), "json", add).await.is(200);
}

/// A kubelet hears of the mark and removes the pod before the request that marked it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_forced_deletion_succeeds_though_a_kubelet_is_faster() {
    let api = Arc::new(api().await);
    let pods = "/api/v1/namespaces/default/pods";
    let now = json!({"gracePeriodSeconds": 0});
    for i in 0..100 {
        let path = format!("{pods}/p{i}");
        let spec = json!({"nodeName": "n", "containers": [{"name": "c", "image": "i"}]});
        let created = api.post(pods, json!({"metadata": {"name": format!("p{i}")}, "spec": spec})).await.is(201).json();
        let from = created["metadata"]["resourceVersion"].as_str().unwrap();
        let mut watch = api.watch(&format!("{pods}?watch=1&resourceVersion={from}")).await;
        let kubelet = tokio::spawn({
            let (api, path, now) = (api.clone(), path.clone(), now.clone());
            async move {
                watch.next().await;
                api.delete_with(&path, now).await
            }
        });
        api.delete_with(&path, now.clone()).await.is(200);
        kubelet.await.unwrap();
        api.get(&path).await.is(404);
    }
}

#[tokio::test]
async fn namespaces_end_in_two_steps() {
    let api = api().await;
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.is(201).has(json!({
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        "metadata": {"labels": {"kubernetes.io/metadata.name": "n"}},
    }));
    api.delete("/api/v1/namespaces/n")
        .await
        .is(200)
        .has(json!({"kind": "Namespace", "status": {"phase": "Terminating"}}));
    api.delete("/api/v1/namespaces/n").await.is(200).has(json!({"status": {"phase": "Terminating"}}));
    let mut namespace = api.get("/api/v1/namespaces/n").await.is(200).json();
    namespace["spec"]["finalizers"] = json!([]);
    api.put("/api/v1/namespaces/n/finalize", namespace).await.is(200);
    api.get("/api/v1/namespaces/n").await.fails(404, "namespaces \"n\" not found");
}

#[tokio::test]
async fn evictions_ask_the_budget() {
    let api = api().await;
    let pods = "/api/v1/namespaces/default/pods";
    for name in ["a", "b"] {
        let pod = json!({"metadata": {"name": name, "labels": {"app": "x"}},
                         "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
        api.post(pods, pod).await.is(201);
        let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        api.patch(&format!("{pods}/{name}/status"), "strategic", ready).await.is(200);
    }
    let pdbs = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let pdb =
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
    api.post(pdbs, pdb).await.is(201);
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1,
                                   "expectedPods": 2}});
    api.patch(&format!("{pdbs}/b/status"), "merge", status).await.is(200);
    let evict = |name: &str| json!({"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": name}});
    api.post(&format!("{pods}/a/eviction"), evict("a")).await.is(201).has(json!({"status": "Success"}));
    api.get(&format!("{pods}/a")).await.has(json!({"metadata": {"deletionGracePeriodSeconds": 30}}));
    let refused = api.post(&format!("{pods}/b/eviction"), evict("b")).await;
    let refused = refused.fails(429, "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(
        refused.json()["details"]["causes"][0]["message"],
        "The disruption budget b does not allow evicting pods currently"
    );
}
