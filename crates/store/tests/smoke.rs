use orlop_store::*;
use serde_json::json;

fn key(ns: &str, name: &str) -> Key {
    Key { resource: "pods".into(), namespace: ns.into(), name: name.into() }
}

#[tokio::test(start_paused = true)]
async fn a_life() {
    let store = Store::open(Config::in_memory()).await.unwrap();
    let start = store.revision();
    let mut watch = store.watch("pods", Some("a"), start).unwrap();
    let draft = || Draft::encode(&json!({"metadata": {"name": "x"}}));
    let made = store.create(key("a", "x"), draft(), Durability::Flushed).await.unwrap();
    assert_eq!(made.revision, 2);
    store.create(key("b", "x"), draft(), Durability::Relaxed).await.unwrap();
    assert_eq!(store.snapshot().count("pods", None), 1);
    assert_eq!(store.consistent("pods").await.unwrap().count("pods", None), 2);
    let updated = store.update(&key("a", "x"), 2, draft(), Durability::Flushed).await.unwrap();
    assert!(matches!(
        store.update(&key("a", "x"), 2, draft(), Durability::Flushed).await,
        Err(StoreError::Conflict(_))
    ));
    store.delete(&key("a", "x"), updated.revision, draft(), Durability::Flushed).await.unwrap();
    let mut seen = vec![];
    while seen.len() < 3 {
        seen.extend(watch.next().await.unwrap().iter().map(|e| (e.revision, e.deleted)));
    }
    assert_eq!(seen, [(2, false), (4, false), (5, true)]);
    assert_eq!(watch.progress(), 5);
    for (revision, count) in [(1, 0), (2, 1), (3, 2), (4, 2), (5, 1)] {
        assert_eq!(store.snapshot_at(revision).unwrap().count("pods", None), count, "at {revision}");
    }
    store.close().await.unwrap();
    assert!(matches!(watch.next().await, Err(StoreError::Closed)));
}
