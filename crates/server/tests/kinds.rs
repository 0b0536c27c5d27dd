//! What must hold for every kind in the list.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use harness::{Api, api};
use orlop_api::kind::KindInfo;
use orlop_api::kinds;
use serde_json::{Value, json};

/// The least that validation lets through, where that is more than a name.
fn minimal(info: &KindInfo) -> Value {
    let template = json!({"metadata": {"labels": {"a": "b"}},
                          "spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}});
    let workload = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "serviceName": "s", "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"});
    match &*info.storage_key {
        "apps/deployments" | "apps/replicasets" | "apps/statefulsets" | "apps/daemonsets" => workload,
        "apps/controllerrevisions" => json!({"revision": 1, "data": {}}),
        "batch/jobs" => json!({"spec": {"template": template}}),
        "batch/cronjobs" => json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}}}),
        "pods" => json!({"spec": {"containers": [{"name": "c", "image": "i"}]}}),
        "services" => json!({"spec": {"ports": [{"port": 80}]}}),
        "events" => json!({
            "involvedObject": {"namespace": "default"}, "regarding": {"namespace": "default"},
            "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "test", "reportingInstance": "t",
            "reportingComponent": "test", "action": "A", "reason": "R", "type": "Normal",
        }),
        "discovery.k8s.io/endpointslices" => json!({"addressType": "IPv4", "endpoints": []}),
        "rbac.authorization.k8s.io/rolebindings" | "rbac.authorization.k8s.io/clusterrolebindings" => {
            json!({"roleRef": reference})
        }
        "scheduling.k8s.io/priorityclasses" => json!({"value": 1}),
        "storage.k8s.io/storageclasses" => json!({"provisioner": "p"}),
        "autoscaling/horizontalpodautoscalers" => {
            json!({"spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}})
        }
        "node.k8s.io/runtimeclasses" => json!({"handler": "h"}),
        "resource.k8s.io/resourceclaims" => {
            json!({"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}})
        }
        "resource.k8s.io/resourceslices" => {
            let pool = json!({"name": "p", "generation": 1, "resourceSliceCount": 1});
            json!({"spec": {"driver": "example.com", "nodeName": "n", "pool": pool}})
        }
        "storagemigration.k8s.io/storageversionmigrations" => {
            json!({"spec": {"resource": {"group": "apps", "resource": "deployments"}}})
        }
        _ => json!({}),
    }
}

/// Creates one, if the kind takes it; the path of the object.
async fn make(api: &Api, info: &KindInfo, version: &str) -> Option<String> {
    let api_version = info.api_version(version);
    let root = if info.group.is_empty() { format!("/api/{version}") } else { format!("/apis/{api_version}") };
    let scope = if info.namespaced { "/namespaces/default" } else { "" };
    let collection = format!("{root}{scope}/{}", info.plural);
    let mut object = minimal(info);
    // Names that every rule takes, save for those that spell addresses.
    object["metadata"] = json!({"name": "walk", "labels": {"walk": "yes"}});
    let answer = api.post(&collection, object).await;
    assert!(matches!(answer.code, 201 | 400 | 422), "POST {collection}: {} {}", answer.code, answer.text());
    (answer.code == 201).then(|| {
        let made = answer.json();
        assert_eq!((made["apiVersion"].as_str(), made["kind"].as_str()), (Some(&*api_version), Some(&*info.kind)));
        format!("{collection}/walk")
    })
}

#[tokio::test]
async fn every_stored_kind_walks_the_same_pipeline() {
    let mut walked = 0;
    let api = api().await;
    for kind in kinds::all() {
        let info = kind.info();
        if !["create", "get", "update", "delete"].iter().all(|verb| info.verbs.iter().any(|v| v == verb)) {
            continue;
        }
        for version in info.versions.iter() {
            let Some(path) = make(&api, info, version).await else { continue };
            walked += 1;
            let collection = path.strip_suffix("/walk").unwrap();
            let object = api.get(&path).await.is(200).json();
            assert!(object["metadata"]["managedFields"].is_array(), "{path}");
            api.get_as(&path, "application/yaml").await.is(200);
            let packed = api.get_as(&path, "application/vnd.kubernetes.protobuf").await.is(200);
            let (_, kind, unpacked) = orlop_api::codec::protobuf::decode(&packed.bytes).unwrap();
            assert_eq!((&*kind, &unpacked["metadata"]["name"]), (&*info.kind, &json!("walk")), "{path}");
            let table = api.get_as(collection, "application/json;as=Table;v=v1;g=meta.k8s.io").await.is(200).json();
            let (columns, rows) = (table["columnDefinitions"].as_array().unwrap(), table["rows"].as_array().unwrap());
            assert_eq!(rows[0]["cells"].as_array().unwrap().len(), columns.len(), "{path}");
            let list = api.get(&format!("{collection}?labelSelector=walk%3Dyes")).await.is(200).json();
            assert_eq!(list["items"].as_array().unwrap().len(), 1, "{path}");
            let same = api.put(&path, object.clone()).await.is(200).json();
            let versions = [&same, &object].map(|o| o["metadata"]["resourceVersion"].clone());
            assert_eq!(versions[0], versions[1], "writing {path} back changed it: {same:#} {object:#}");
            let patch = json!({"metadata": {"annotations": {"x": "y"}}});
            api.patch(&path, "merge", patch.clone()).await.is(200).has(patch);
            api.delete_with(&path, json!({"gracePeriodSeconds": 0})).await.is(200);
            // What finalizers hold goes when they go.
            api.patch(&path, "merge", json!({"metadata": {"finalizers": null}})).await;
            if info.storage_key != "namespaces" {
                api.get(&path).await.is(404);
            }
        }
    }
    assert!(walked > 40, "{walked}");
}

#[tokio::test]
async fn shared_objects_look_right_from_both_sides() {
    let api = api().await;
    let events = "/apis/events.k8s.io/v1/namespaces/default/events";
    let event = json!({
        "metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "note": "hello",
        "reason": "R", "type": "Normal", "action": "A", "reportingController": "c", "reportingInstance": "i",
        "eventTime": "2026-01-01T00:00:00.000000Z",
    });
    api.post(events, event).await.is(201).has(json!({"apiVersion": "events.k8s.io/v1", "note": "hello"}));
    let core = "/api/v1/namespaces/default/events";
    api.get(&format!("{core}/e")).await.is(200).has(json!({
        "apiVersion": "v1", "message": "hello", "involvedObject": {"name": "p"}, "reportingComponent": "c",
    }));
    for (path, label) in [(core, "involvedObject.name"), (events, "regarding.name"), (core, "involvedObject.name")] {
        let list = api.get(&format!("{path}?fieldSelector={label}%3Dp")).await.is(200).json();
        assert_eq!(list["items"].as_array().unwrap().len(), 1, "{path}");
    }
    let mut watch = api.watch(&format!("{events}?watch=true")).await;
    let first = watch.next().await.unwrap();
    assert_eq!(
        (&first["object"]["apiVersion"], &first["object"]["note"]),
        (&json!("events.k8s.io/v1"), &json!("hello"))
    );

    let target = json!({"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"});
    let old = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
                     "scaleTargetRef": target}});
    api.post("/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", old).await.is(201);
    let new = api.get("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/h").await.is(200);
    new.has(json!({"spec": {"metrics": [{"type": "Resource", "resource": {"target": {"averageUtilization": 50}}}]}}));
}

#[tokio::test]
async fn signing_requests_name_who_asks_and_are_approved() {
    let api = api().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let request = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";
    let csr = json!({"metadata": {"name": "c"}, "spec": {"request": request, "signerName": "example.com/signer",
                     "usages": ["client auth"], "username": "somebody else"}});
    let made = api.post(path, csr).await;
    // Whether this empty request is let through is validation's matter; if it is, it names its maker.
    if made.code == 201 {
        made.has(json!({"spec": {"username": "tester", "uid": null, "extra": null}}));
        let mut object = api.get(&format!("{path}/c")).await.json();
        object["status"] = json!({"conditions": [{"type": "Approved", "status": "True", "reason": "R"}]});
        api.put(&format!("{path}/c/approval"), object)
            .await
            .is(200)
            .has(json!({"status": {"conditions": [{"type": "Approved"}]}}));
    }
}
