use std::sync::{Arc, Mutex};

use orlop_api::typed::kinds::{ConfigMap, Pod};
use tokio_util::sync::CancellationToken;

use super::{Cache, Delta, Factory, Index};
use crate::client::Client;
use crate::object::Object;
use crate::params::DeleteOptions;
use crate::testing::MemoryApi;

fn setup() -> (MemoryApi, Client, Factory) {
    let api = MemoryApi::default();
    let client = Client::new(api.clone(), "test/1");
    let factory = Factory::new(client.clone(), CancellationToken::new());
    (api, client, factory)
}

fn map(name: &str, data: &str) -> ConfigMap {
    let text = format!(r#"{{"metadata":{{"name":"{name}","namespace":"default"}},"data":{{"k":"{data}"}}}}"#);
    <ConfigMap as Object>::decode(text.as_bytes()).unwrap()
}

fn names<K: Object>(cache: &Cache<K>) -> Vec<String> {
    cache.snapshot().iter().map(|o| o.name().to_owned()).collect()
}

fn show(delta: &Delta<ConfigMap>) -> String {
    let side = |o: &Option<Arc<ConfigMap>>| {
        o.as_ref().map_or("-".to_owned(), |o| format!("{}={}", o.name(), o.data.as_ref().unwrap()["k"]))
    };
    format!("{} {}", side(&delta.old), side(&delta.new))
}

#[tokio::test(start_paused = true)]
async fn follows_the_server_through_broken_and_expired_watches() {
    for watch_list in [true, false] {
        let (api, client, factory) = setup();
        if !watch_list {
            api.refuse_watch_list();
        }
        let maps = client.api::<ConfigMap>("default");
        maps.create(&map("a", "1")).await.unwrap();
        let cache = factory.cache::<ConfigMap>();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let _observer = cache.observe(move |delta| log.lock().unwrap().push(show(delta)));
        cache.synced().await;
        assert_eq!(names(&cache), ["a"]);

        let b = maps.create(&map("b", "1")).await.unwrap();
        cache.reached(b.resource_version().parse().unwrap()).await;
        assert_eq!(names(&cache), ["a", "b"]);

        // While no watch runs: an update, a deletion, and history is lost.
        api.break_watches();
        maps.update(&map("a", "2")).await.unwrap();
        maps.delete("b", &DeleteOptions::default()).await.unwrap();
        let c = maps.create(&map("c", "1")).await.unwrap();
        api.compact();
        cache.reached(c.resource_version().parse().unwrap()).await;
        assert_eq!(names(&cache), ["a", "c"]);
        assert_eq!(*seen.lock().unwrap(), ["- a=1", "- b=1", "b=1 -", "a=1 a=2", "- c=1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_sees_merged_changes() {
    let (_, client, factory) = setup();
    let maps = client.api::<ConfigMap>("default");
    maps.create(&map("a", "1")).await.unwrap();
    let cache = factory.cache::<ConfigMap>();
    let mut changes = cache.subscribe();
    cache.synced().await;
    for n in ["2", "3"] {
        maps.update(&map("a", n)).await.unwrap();
    }
    maps.create(&map("b", "1")).await.unwrap();
    let b = maps.update(&map("b", "2")).await.unwrap();
    cache.reached(b.resource_version().parse().unwrap()).await;
    assert_eq!(show(&changes.next().await), "- a=3");
    assert_eq!(show(&changes.next().await), "- b=2");
    assert!(changes.try_next().is_none());
    maps.delete("a", &DeleteOptions::default()).await.unwrap();
    assert_eq!(show(&changes.next().await), "a=3 -");
}

#[tokio::test(start_paused = true)]
async fn a_replaced_object_is_gone_before_it_is_new() {
    let (api, client, factory) = setup();
    let maps = client.api::<ConfigMap>("default");
    maps.create(&map("a", "1")).await.unwrap();
    let cache = factory.cache::<ConfigMap>();
    cache.synced().await;
    let mut changes = cache.subscribe();
    changes.try_next().unwrap();
    api.break_watches();
    maps.delete("a", &DeleteOptions::default()).await.unwrap();
    maps.create(&map("a", "9")).await.unwrap();
    api.compact();
    assert_eq!(show(&changes.next().await), "a=1 -");
    assert_eq!(show(&changes.next().await), "- a=9");
}

#[tokio::test(start_paused = true)]
async fn indexes_follow_changes() {
    let (_, client, factory) = setup();
    const BY_NODE: Index<Pod> =
        Index { name: "node", values: |pod| pod.spec.as_ref().and_then(|s| s.node_name.clone()).into_iter().collect() };
    let pod = |name: &str, node: &str| {
        let text = format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"d"}},"spec":{{"nodeName":"{node}","containers":[]}}}}"#
        );
        <Pod as Object>::decode(text.as_bytes()).unwrap()
    };
    let pods = client.api::<Pod>("d");
    for (name, node) in [("c", "n1"), ("a", "n1"), ("b", "n2")] {
        pods.create(&pod(name, node)).await.unwrap();
    }
    let cache = factory.cache::<Pod>();
    cache.synced().await;
    cache.add_index(BY_NODE);
    let on = |node: &str| cache.snapshot().indexed("node", node).map(|p| p.name().to_owned()).collect::<Vec<_>>();
    assert_eq!((on("n1"), on("n2")), (vec!["a".into(), "c".into()], vec!["b".into()]));
    let moved = pods.update(&pod("a", "n2")).await.unwrap();
    cache.reached(moved.resource_version().parse().unwrap()).await;
    pods.delete("b", &DeleteOptions::default()).await.unwrap();
    cache.wait_until(|s| s.get("d", "b").is_none()).await;
    assert_eq!((on("n1"), on("n2")), (vec!["c".to_owned()], vec!["a".to_owned()]));
    assert_eq!(cache.snapshot().namespace("d").count(), 2);
    assert_eq!(cache.snapshot().namespace("").count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cache_is_shared_and_ends_with_its_last_handle() {
    let (api, _, factory) = setup();
    let one = factory.cache::<ConfigMap>();
    let two = factory.cache::<ConfigMap>();
    one.synced().await;
    two.synced().await;
    assert_eq!(api.take_requests().len(), 1);
    let private = factory.private::<ConfigMap>(one.resource(), &super::Selection::default());
    private.synced().await;
    let weak = std::sync::Arc::downgrade(private.store());
    drop(private);
    tokio::task::yield_now().await;
    assert!(weak.upgrade().is_none());
}
