//! Lists and watches.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use harness::{Api, api};
use http_body_util::BodyExt as _;
use orlop_store::disk::{Faults, SimDisk};
use orlop_store::{Config, Store};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn fill(api: &Api, names: &[&str]) {
    for name in names {
        let label = if *name < "c" { "early" } else { "late" };
        let map = json!({"metadata": {"name": name, "labels": {"when": label}}});
        api.post(MAPS, map).await.is(201);
    }
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn lists_select() {
    let api = api().await;
    fill(&api, &["a", "b", "c", "d"]).await;
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "other"}})).await.is(201);
    api.post("/api/v1/namespaces/other/configmaps", json!({"metadata": {"name": "z"}})).await.is(201);
    let cases: &[(&str, &str, &[&str])] = &[
        (MAPS, "", &["a", "b", "c", "d"]),
        ("/api/v1/configmaps", "", &["a", "b", "c", "d", "z"]),
        (MAPS, "labelSelector=when%3Dearly", &["a", "b"]),
        (MAPS, "labelSelector=when%20in%20(late),!x", &["c", "d"]),
        (MAPS, "fieldSelector=metadata.name%3Dc", &["c"]),
        (MAPS, "fieldSelector=metadata.name!%3Dc", &["a", "b", "d"]),
        (MAPS, "fieldSelector=metadata.name%3Dnone", &[]),
        ("/api/v1/configmaps", "fieldSelector=metadata.namespace%3Dother", &["z"]),
        (MAPS, "resourceVersion=0", &["a", "b", "c", "d"]),
    ];
    for (path, query, want) in cases {
        let list = api.get(&format!("{path}?{query}")).await.is(200).json();
        assert_eq!(names(&list), *want, "{path}?{query}");
        assert_eq!((list["kind"].as_str(), list["apiVersion"].as_str()), (Some("ConfigMapList"), Some("v1")));
    }
    api.get(&format!("{MAPS}?labelSelector=a%20in")).await.is(400);
    api.get(&format!("{MAPS}?fieldSelector=spec.x%3D1")).await.is(400);
    api.get(&format!("{MAPS}?resourceVersion=x")).await.is(400);
    api.get("/api/v1/configmaps/x").await.is(404);
}

#[tokio::test]
async fn pages_stay_at_one_revision() {
    let api = api().await;
    fill(&api, &["a", "b", "c", "d", "e"]).await;
    let first = api.get(&format!("{MAPS}?limit=2")).await.is(200).json();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    fill(&api, &["bb"]).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = api.get(&format!("{MAPS}?limit=2&continue={token}")).await.is(200).json();
    assert_eq!(names(&second), ["c", "d"], "what came later is not seen");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = api.get(&format!("{MAPS}?limit=2&continue={token}")).await.is(200).json();
    assert_eq!(names(&third), ["e"]);
    assert!(third["metadata"].get("continue").is_none());
    let rv = first["metadata"]["resourceVersion"].as_str().unwrap();
    let exact = api.get(&format!("{MAPS}?resourceVersion={rv}&resourceVersionMatch=Exact")).await.is(200).json();
    assert_eq!(names(&exact), ["a", "b", "c", "d", "e"]);

    let token = first["metadata"]["continue"].as_str().unwrap();
    api.server.store().compact(api.server.store().revision());
    let expired = api.get(&format!("{MAPS}?limit=2&continue={token}")).await.is(410).json();
    assert_eq!(expired["reason"], "Expired");
    let fresh = expired["metadata"]["continue"].as_str().unwrap();
    let rest = api.get(&format!("{MAPS}?continue={fresh}")).await.is(200).json();
    assert_eq!(names(&rest), ["bb", "c", "d", "e"]);
    api.get(&format!("{MAPS}?resourceVersion={rv}&resourceVersionMatch=Exact"))
        .await
        .fails(410, "The resourceVersion for the provided list is too old.");
    api.get(&format!("{MAPS}?continue=nonsense")).await.is(400);
}

#[tokio::test(start_paused = true)]
async fn reads_wait_for_revisions_but_not_for_ever() {
    let api = api().await;
    let newest = api.server.store().revision();
    let far = newest + 100;
    api.get(&format!("{MAPS}?resourceVersion={far}"))
        .await
        .fails(504, &format!("Timeout: Too large resource version: {far}, current: {newest}"));
}

/// A Lease's revision is told before it is on disk.
#[tokio::test(start_paused = true)]
async fn reads_wait_for_what_was_told_however_slow_the_disk() {
    let disk = SimDisk::new();
    let store = Store::open(Config::on(Arc::new(disk.clone()))).await.unwrap();
    let api = harness::over(store);
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "default"}})).await.is(201);
    disk.set_faults(Faults { flush_delay: Duration::from_secs(30), ..Faults::default() });
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let told = api.post(leases, json!({"metadata": {"name": "a"}})).await.is(201).json();
    let told = told["metadata"]["resourceVersion"].as_str().unwrap();
    assert!(api.server.store().revision() < told.parse().unwrap());
    let list = api.get(&format!("{leases}?resourceVersion={told}")).await.is(200).json();
    assert_eq!(names(&list), ["a"]);
}

#[tokio::test]
async fn tables_and_partial_metadata() {
    let api = api().await;
    fill(&api, &["a", "b"]).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let list = api.get_as(MAPS, table).await.is(200).json();
    assert_eq!(list["kind"], "Table");
    assert_eq!(list["columnDefinitions"][0]["name"], "Name");
    assert_eq!(list["rows"][1]["cells"][0], "b");
    assert_eq!(list["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let one = api.get_as(&format!("{MAPS}/a?includeObject=Object"), table).await.is(200).json();
    assert_eq!(one["rows"][0]["object"]["kind"], "ConfigMap");
    api.get_as(&format!("{MAPS}?includeObject=X"), table).await.is(400);
    let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = api.get_as(MAPS, partial).await.is(200).json();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
    assert!(list["items"][0].get("data").is_none());
}

#[tokio::test]
async fn large_lists_are_compressed_when_asked() {
    let api = api().await;
    for n in 0..20 {
        let map = json!({"metadata": {"name": format!("m{n}")}, "data": {"x": "y".repeat(10_000)}});
        api.post(MAPS, map).await.is(201);
    }
    let packed = api.send("GET", MAPS, &[("accept-encoding", "gzip")], "").await.is(200);
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut plain = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*packed.bytes), &mut plain).unwrap();
    assert_eq!(plain, api.get(MAPS).await.text());
    let small = api.send("GET", &format!("{MAPS}/m1"), &[("accept-encoding", "gzip")], "").await;
    assert_eq!(small.header("content-encoding"), "");
}

#[tokio::test]
async fn watches_follow_a_list() {
    let api = api().await;
    fill(&api, &["a"]).await;
    let list = api.get(MAPS).await.json();
    let rv = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = api.watch(&format!("{MAPS}?watch=true&resourceVersion={rv}")).await;
    fill(&api, &["b"]).await;
    assert_eq!(events.brief().await, "ADDED b");
    api.patch(&format!("{MAPS}/a"), "merge", json!({"data": {"x": "1"}})).await.is(200);
    let modified = events.next().await.unwrap();
    assert_eq!((&modified["type"], &modified["object"]["data"]["x"]), (&json!("MODIFIED"), &json!("1")));
    api.delete(&format!("{MAPS}/a")).await.is(200);
    let deleted = events.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    assert_ne!(deleted["object"]["metadata"]["resourceVersion"], modified["object"]["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn watches_start_with_the_state_when_no_version_is_given() {
    let api = api().await;
    fill(&api, &["a", "b"]).await;
    let mut events = api.watch(&format!("{MAPS}?watch=true")).await;
    assert_eq!([events.brief().await, events.brief().await], ["ADDED a", "ADDED b"]);
    fill(&api, &["c"]).await;
    assert_eq!(events.brief().await, "ADDED c");
}

#[tokio::test]
async fn watch_lists_end_their_state_with_a_bookmark() {
    let api = api().await;
    fill(&api, &["a", "b", "c"]).await;
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = api.watch(&format!("{MAPS}?{query}&fieldSelector=metadata.name%3Db")).await;
    assert_eq!(events.brief().await, "ADDED b");
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert!(bookmark["object"]["metadata"]["resourceVersion"].is_string());
    fill(&api, &["d"]).await;
    api.delete(&format!("{MAPS}/b")).await.is(200);
    assert_eq!(events.brief().await, "DELETED b");
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let api = api().await;
    let mut events = api.watch(&format!("{MAPS}?watch=true&labelSelector=when%3Dlate")).await;
    fill(&api, &["a"]).await;
    let relabel = |when: &str| json!({"metadata": {"labels": {"when": when}}});
    let path = format!("{MAPS}/a");
    api.patch(&path, "merge", relabel("late")).await.is(200);
    assert_eq!(events.brief().await, "ADDED a");
    let left = api.patch(&path, "merge", relabel("early")).await.json();
    let event = events.next().await.unwrap();
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["metadata"]["labels"]["when"], "late", "what the watcher knew");
    assert_eq!(event["object"]["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"]);
    api.patch(&path, "merge", relabel("late")).await.is(200);
    assert_eq!(events.brief().await, "ADDED a");
}

#[tokio::test]
async fn old_versions_end_in_an_error_event() {
    let api = api().await;
    fill(&api, &["a", "b"]).await;
    api.server.store().compact(api.server.store().revision());
    let mut events = api.watch(&format!("{MAPS}?watch=true&resourceVersion=1")).await;
    let event = events.next().await.unwrap();
    assert_eq!((event["type"].as_str(), event["object"]["code"].as_u64()), (Some("ERROR"), Some(410)));
    assert!(event["object"]["message"].as_str().unwrap().starts_with("too old resource version: 1 ("));
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn watches_end_in_time_with_a_last_bookmark() {
    let api = api().await;
    let rv = api.server.store().revision();
    let query = format!("watch=true&resourceVersion={rv}&allowWatchBookmarks=true&timeoutSeconds=90");
    let mut events = api.watch(&format!("{MAPS}?{query}")).await;
    let first = events.next().await.unwrap();
    assert_eq!(first["type"], "BOOKMARK");
    assert!(first["object"]["metadata"].get("annotations").is_none());
    assert_eq!(events.next().await.unwrap()["type"], "BOOKMARK");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn tables_can_be_watched() {
    let api = api().await;
    fill(&api, &["a"]).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut events = api.watch_as(&format!("{MAPS}?watch=true"), table).await;
    let first = events.next().await.unwrap();
    assert_eq!(first["object"]["kind"], "Table");
    assert!(!first["object"]["columnDefinitions"].as_array().unwrap().is_empty());
    fill(&api, &["b"]).await;
    let second = events.next().await.unwrap();
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
    assert!(second["object"]["columnDefinitions"].is_null(), "columns come once");
}

#[tokio::test]
async fn watchers_share_the_bytes_of_an_event() {
    let api = api().await;
    let mut bodies = Vec::new();
    for _ in 0..3 {
        bodies.push(api.open("GET", &format!("{MAPS}?watch=true"), &[], "").await.into_body());
    }
    fill(&api, &["a"]).await;
    let mut places = Vec::new();
    for body in &mut bodies {
        let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
        places.push((line.as_ptr(), line.len()));
    }
    assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
}

#[tokio::test]
async fn gets_hand_out_the_stored_bytes() {
    let api = api().await;
    fill(&api, &["a"]).await;
    let stored = api.server.store().snapshot().get("configmaps", "default", "a").unwrap().json.clone();
    let answer = api.open("GET", &format!("{MAPS}/a"), &[], "").await.into_body().frame().await.unwrap().unwrap();
    assert_eq!(answer.into_data().unwrap().as_ptr(), stored.as_ptr());
}
