//! Quotas and limit ranges hold what they say.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use harness::{Api, api};
use serde_json::{Value, json};

const NAMESPACE: &str = "/api/v1/namespaces/default";

async fn quota(api: &Api, hard: Value, used: Value) {
    let quotas = format!("{NAMESPACE}/resourcequotas");
    api.post(&quotas, json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await.is(201);
    let status = json!({"status": {"hard": hard, "used": used}});
    api.patch(&format!("{quotas}/q/status"), "merge", status).await.is(200);
}

fn pod(name: &str, resources: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

#[tokio::test]
async fn what_exceeds_a_quota_is_refused_and_what_fits_is_charged() {
    let api = api().await;
    quota(&api, json!({"configmaps": "2"}), json!({"configmaps": "1"})).await;
    let maps = format!("{NAMESPACE}/configmaps");
    api.post(&format!("{maps}?dryRun=All"), json!({"metadata": {"name": "a"}})).await.is(201);
    api.post(&maps, json!({"metadata": {"name": "a"}})).await.is(201);
    api.get(&format!("{NAMESPACE}/resourcequotas/q")).await.has(json!({"status": {"used": {"configmaps": "2"}}}));
    api.post(&maps, json!({"metadata": {"name": "b"}})).await.fails(
        403,
        "configmaps \"b\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2",
    );
}

#[tokio::test]
async fn a_quota_on_compute_makes_pods_speak() {
    let api = api().await;
    quota(&api, json!({"cpu": "1", "pods": "5"}), json!({"cpu": "0", "pods": "0"})).await;
    let pods = format!("{NAMESPACE}/pods");
    api.post(&pods, pod("a", json!({})))
        .await
        .fails(403, "pods \"a\" is forbidden: failed quota: q: must specify cpu for: c");
    api.post(&pods, pod("a", json!({"requests": {"cpu": "600m"}}))).await.is(201);
    api.post(&pods, pod("b", json!({"requests": {"cpu": "600m"}})))
        .await
        .fails(403, "pods \"b\" is forbidden: exceeded quota: q, requested: cpu=600m, used: cpu=600m, limited: cpu=1");
}

#[tokio::test]
async fn a_quota_not_yet_counted_lets_nothing_through() {
    let api = api().await;
    quota(&api, json!({"secrets": "5"}), json!({})).await;
    api.post(&format!("{NAMESPACE}/secrets"), json!({"metadata": {"name": "s"}}))
        .await
        .fails(403, "secrets \"s\" is forbidden: status unknown for quota: q, resources: secrets");
}

#[tokio::test]
async fn limit_ranges_default_and_bound() {
    let api = api().await;
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "300m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}},
    ]}});
    api.post(&format!("{NAMESPACE}/limitranges"), range).await.is(201);
    let pods = format!("{NAMESPACE}/pods");
    api.post(&pods, pod("a", json!({}))).await.is(201).has(json!({
        "metadata": {"annotations": {"kubernetes.io/limit-ranger":
            "LimitRanger plugin set: cpu request for container c; cpu limit for container c"}},
        "spec": {"containers": [{"resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "300m"}}}]},
    }));
    api.post(&pods, pod("b", json!({"limits": {"cpu": "2"}})))
        .await
        .fails(403, "pods \"b\" is forbidden: maximum cpu usage per Container is 1, but limit is 2");
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
                       "resources": {"requests": {"storage": "1Mi"}}}});
    api.post(&format!("{NAMESPACE}/persistentvolumeclaims"), claim).await.fails(
        403,
        "persistentvolumeclaims \"c\" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi",
    );
}
