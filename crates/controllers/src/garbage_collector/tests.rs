use std::sync::Arc;

use jiff::Timestamp;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use orlop_client::cache::Factory;
use orlop_client::engine::{Key, View};
use orlop_client::testing::MemoryApi;
use orlop_client::{Client, DeleteOptions, Dynamic, Propagation, Resource};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::decide::decide;
use super::graph::{Consequences, Graph, Node};
use super::look::{Case, Owner};
use super::metadata::{FOREGROUND, Metadata, ORPHAN};

fn resource(group: &'static str, kind: &'static str, plural: &'static str, namespaced: bool) -> Arc<Resource> {
    let (group, version) = (group.into(), "v1".into());
    Arc::new(Resource { group, version, plural: plural.into(), kind: kind.into(), namespaced })
}

fn pods() -> Arc<Resource> {
    resource("", "Pod", "pods", true)
}

fn sets() -> Arc<Resource> {
    resource("apps", "ReplicaSet", "replicasets", true)
}

fn owner(uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".into(),
        kind: "ReplicaSet".into(),
        name: uid.into(),
        uid: uid.into(),
        ..OwnerReference::default()
    }
}

fn blocking(uid: &str) -> OwnerReference {
    OwnerReference { block_owner_deletion: Some(true), ..owner(uid) }
}

/// An object named as its uid, in namespace `d`.
fn object(uid: &str, owners: &[OwnerReference]) -> Metadata {
    Metadata {
        name: uid.into(),
        namespace: "d".into(),
        uid: uid.into(),
        resource_version: "7".into(),
        owners: owners.to_vec(),
        ..Metadata::default()
    }
}

fn waiting(uid: &str, finalizer: &str, owners: &[OwnerReference]) -> Metadata {
    Metadata { terminating: true, finalizers: vec![finalizer.into(), "other".into()], ..object(uid, owners) }
}

fn woken(news: &Consequences) -> Vec<&str> {
    news.wake.iter().map(String::as_str).collect()
}

#[test]
fn changes_wake_whom_they_concern() {
    let mut graph = Graph::default();
    let put = |graph: &mut Graph, resource: &Arc<Resource>, object: Metadata| {
        let news = graph.put(resource, Arc::new(object));
        (news.wake.into_iter().collect::<Vec<_>>(), news.notes.len())
    };
    // A dependent before its owner is suspect; after it, it is not.
    assert_eq!(put(&mut graph, &pods(), object("p1", &[owner("s")])), (vec!["p1".to_owned()], 0));
    assert_eq!(put(&mut graph, &sets(), object("s", &[])), (vec![], 0));
    assert_eq!(put(&mut graph, &pods(), object("p2", &[blocking("s")])), (vec![], 0));
    assert!(graph.suspects().is_empty());
    // Deletion in the foreground begins: the owner and all dependents.
    let began = put(&mut graph, &sets(), waiting("s", FOREGROUND, &[]));
    assert_eq!(began.0, ["p1", "p2", "s"]);
    assert_eq!(put(&mut graph, &sets(), waiting("s", FOREGROUND, &[])), (vec![], 0));
    // A reference that blocks no more, a dependent that is gone: the owner looks again.
    assert_eq!(put(&mut graph, &pods(), object("p2", &[owner("s")])).0, ["s"]);
    assert_eq!(woken(&graph.remove("p2")), ["s"]);
    assert_eq!(woken(&graph.remove("s")), ["p1"]);
    assert_eq!(graph.suspects().into_iter().collect::<Vec<_>>(), ["p1"]);
    assert_eq!(graph.dependents("s").count(), 1);
    assert!(graph.remove("p1").wake.is_empty());
    assert_eq!(graph.dependents("s").count(), 0);
}

#[test]
fn an_owner_in_another_namespace_is_none() {
    let elsewhere = Metadata { namespace: "e".into(), ..object("s", &[]) };
    for owner_first in [true, false] {
        let mut graph = Graph::default();
        let mut news = Vec::new();
        let dependent = object("p", &[owner("s")]);
        if owner_first {
            news.push(graph.put(&sets(), Arc::new(elsewhere.clone())));
            news.push(graph.put(&pods(), Arc::new(dependent)));
        } else {
            news.push(graph.put(&pods(), Arc::new(dependent)));
            news.push(graph.put(&sets(), Arc::new(elsewhere.clone())));
        }
        assert_eq!(woken(&news[1]), ["p"]);
        assert_eq!(
            news[1].notes[0].to_string(),
            "event Warning OwnerRefInvalidNamespace: ownerRef [apps/v1/ReplicaSet, namespace: d, name: s, uid: s] does \
             not exist in namespace \"d\""
        );
    }
}

fn case(live: Metadata, judged: &[Owner], dependents: &[Metadata]) -> Case {
    let owners = live.owners.iter().cloned().zip(judged.iter().copied()).collect();
    let node = |object: &Metadata| Node { resource: pods(), object: Arc::new(object.clone()) };
    Case { resource: pods(), live, owners, dependents: dependents.iter().map(node).collect() }
}

/// Each write as a line and its body.
fn fate(case: Case) -> Vec<(String, Value)> {
    let plan = decide(&Key::new("", "x"), &View::default().with(case), Timestamp::UNIX_EPOCH);
    let mut lines: Vec<_> = plan.writes().map(|w| (w.to_string(), w.body())).collect();
    lines.extend(plan.retry.map(|why| (format!("retry {why}"), Value::Null)));
    lines
}

fn lines(case: Case) -> Vec<String> {
    fate(case).into_iter().map(|(line, _)| line).collect()
}

#[test]
fn owners_decide_the_fate_of_an_object() {
    use Owner::{Absent, Impossible, Solid, Unwatched, Waiting};
    let two = || object("p", &[owner("a"), blocking("b")]);
    assert!(lines(case(two(), &[Solid, Solid], &[])).is_empty());
    assert!(lines(case(two(), &[Impossible, Absent], &[])).is_empty());
    assert!(lines(case(object("p", &[]), &[], &[])).is_empty());
    assert_eq!(lines(case(two(), &[Unwatched, Solid], &[])), ["retry its owner has not been seen by a watch yet"]);

    let kept = fate(case(two(), &[Solid, Absent], &[]));
    let references = json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "a" }]);
    let want = json!({ "metadata": { "uid": "p", "resourceVersion": "7", "ownerReferences": references } });
    assert_eq!(kept, [("patch pods d/p".to_owned(), want)]);

    let deleted = |propagation: &str| {
        let body = json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation,
            "preconditions": { "uid": "p", "resourceVersion": "7" },
        });
        vec![("delete pods d/p".to_owned(), body)]
    };
    assert_eq!(fate(case(two(), &[Absent, Absent], &[])), deleted("Background"));
    assert_eq!(fate(case(two(), &[Absent, Waiting], &[])), deleted("Background"));
    let child = object("c", &[blocking("p")]);
    assert_eq!(fate(case(two(), &[Absent, Waiting], std::slice::from_ref(&child))), deleted("Foreground"));
    assert_eq!(fate(case(two(), &[Absent, Absent], &[child])), deleted("Background"));
    let orphaning = Metadata { finalizers: vec![ORPHAN.into()], ..two() };
    assert_eq!(fate(case(orphaning, &[Absent, Absent], &[])), deleted("Orphan"));
    let patient = Metadata { finalizers: vec![FOREGROUND.into()], ..two() };
    assert_eq!(fate(case(patient, &[Absent, Absent], &[])), deleted("Foreground"));
}

#[test]
fn a_cycle_of_waiting_objects_is_cut() {
    let live = object("p", &[blocking("a")]);
    let child = waiting("a", FOREGROUND, &[blocking("p")]);
    let cut = fate(case(live, &[Owner::Waiting], std::slice::from_ref(&child)));
    assert_eq!(cut[0].0, "patch pods d/p");
    assert_eq!(cut[0].1["metadata"]["ownerReferences"][0]["blockOwnerDeletion"], false);
    let free = object("p", &[OwnerReference { block_owner_deletion: Some(false), ..owner("a") }]);
    assert_eq!(lines(case(free, &[Owner::Waiting], &[child])), ["delete pods d/p"]);
}

#[test]
fn waiting_objects_go_when_their_dependents_let_them() {
    let foreground = || waiting("s", FOREGROUND, &[]);
    assert!(lines(case(foreground(), &[], &[object("p", &[blocking("s")])])).is_empty());
    let finished = fate(case(foreground(), &[], &[object("p", &[owner("s")])]));
    let want = json!({ "metadata": { "uid": "s", "resourceVersion": "7", "finalizers": ["other"] } });
    assert_eq!(finished, [("patch pods d/s".to_owned(), want)]);

    let orphaning = waiting("s", ORPHAN, &[]);
    let orphaned = fate(case(orphaning, &[], &[object("p", &[owner("x"), blocking("s")])]));
    assert_eq!(orphaned.iter().map(|(l, _)| l.as_str()).collect::<Vec<_>>(), ["patch pods d/p", "patch pods d/s"]);
    assert_eq!(orphaned[0].1["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
}

#[test]
fn metadata_is_read_from_whole_objects_too() {
    let json = br#"{"kind":"Pod","metadata":{"name":"p","namespace":"d","uid":"u","deletionTimestamp":"x",
        "finalizers":["f"],"ownerReferences":[{"apiVersion":"v1","kind":"K","name":"n","uid":"o","controller":true}]},"spec":{}}"#;
    let read = <Metadata as orlop_client::Object>::decode(json).unwrap();
    assert!(read.waits_for("f"));
    assert_eq!(orlop_client::Object::owner_uids(&read), [("o", true)]);
}

/// The whole collector against the in-memory server.
struct World {
    api: MemoryApi,
    client: Client,
}

impl World {
    fn new() -> Self {
        let api = MemoryApi::default();
        api.serve(&[(*pods()).clone(), (*sets()).clone()]);
        let client = Client::new(api.clone(), "test/1");
        let shutdown = CancellationToken::new();
        let factory = Factory::new(client.clone(), shutdown.clone());
        super::start(&factory, client.clone(), shutdown);
        Self { api, client }
    }

    /// Makes an object with owners; returns its uid.
    async fn make(&self, resource: &Resource, name: &str, owners: Vec<Value>) -> String {
        let object = Dynamic(json!({ "metadata": { "name": name, "namespace": "d", "ownerReferences": owners } }));
        let made = self.client.dynamic(resource, "d").create(&object).await.unwrap();
        orlop_api::meta::uid(&made.0).to_owned()
    }

    async fn delete(&self, name: &str, propagation: Propagation) {
        let options = DeleteOptions::default().propagation(propagation);
        self.client.dynamic(&sets(), "d").delete(name, &options).await.unwrap();
    }

    async fn settle(&self) -> (usize, usize) {
        tokio::time::sleep(std::time::Duration::from_mins(2)).await;
        (self.api.objects("/apis/apps/v1/replicasets").len(), self.api.objects("/api/v1/pods").len())
    }
}

fn reference(name: &str, uid: &str, block: bool) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": uid, "controller": true, "blockOwnerDeletion": block })
}

#[tokio::test(start_paused = true)]
async fn deletions_of_every_kind_end_well() {
    for (propagation, left) in
        [(Propagation::Background, (0, 0)), (Propagation::Foreground, (0, 0)), (Propagation::Orphan, (0, 2))]
    {
        let world = World::new();
        let uid = world.make(&sets(), "s", Vec::new()).await;
        for pod in ["p1", "p2"] {
            world.make(&pods(), pod, vec![reference("s", &uid, true)]).await;
        }
        assert_eq!(world.settle().await, (1, 2));
        world.delete("s", propagation).await;
        assert_eq!(world.settle().await, left, "{propagation:?}");
        for orphan in world.api.objects("/api/v1/pods") {
            assert_eq!(orphan["metadata"]["ownerReferences"], json!([]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn children_of_owners_that_never_were_go() {
    let world = World::new();
    world.settle().await;
    let real = world.make(&sets(), "s", Vec::new()).await;
    world.make(&pods(), "unowned", Vec::new()).await;
    world.make(&pods(), "fake-owner", vec![reference("s", "no-such-uid", false)]).await;
    world.make(&pods(), "one-of-two", vec![reference("s", &real, true), reference("t", "gone", false)]).await;
    assert_eq!(world.settle().await, (1, 2));
    let pods = world.api.objects("/api/v1/pods");
    let kept = pods.iter().find(|p| p["metadata"]["name"] == "one-of-two").unwrap();
    assert_eq!(kept["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
}
