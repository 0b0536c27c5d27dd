//! What watching costs: wake-ups, copies, memory.
#![allow(clippy::unwrap_used)]

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use common::{draft, key, pod};
use futures_util::future::join_all;
use orlop_store::{Config, Durability, Event, HistoryLimits, Limits, Store, StoreError, Watch};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

async fn with_history(history: HistoryLimits) -> Store {
    Store::open(Config::in_memory().with_limits(Limits { history, ..Limits::default() })).await.unwrap()
}

async fn create_all(store: &Store, namespace: &str, from: usize, count: usize) {
    let creates = (from..from + count)
        .map(|n| store.create(key("pods", namespace, &format!("p{n}")), draft("x", 100), Durability::Flushed));
    assert!(join_all(creates).await.iter().all(Result::is_ok));
}

/// Events and batches that are there now.
fn drain(watch: &mut Watch) -> (Vec<Event>, usize) {
    let (mut events, mut batches) = (Vec::new(), 0);
    while let Some(batch) = watch.try_next().unwrap() {
        events.extend(batch.iter().cloned());
        batches += 1;
    }
    (events, batches)
}

#[tokio::test(start_paused = true)]
async fn a_group_wakes_each_watcher_once_and_shares_its_events() {
    let store = with_history(HistoryLimits::default()).await;
    let start = store.revision();
    let mut watches: Vec<Watch> = (0..1000).map(|_| store.watch("pods", None, start).unwrap()).collect();
    let counts: Vec<Arc<Count>> = watches.iter().map(|_| Arc::default()).collect();
    {
        let mut waiting: Vec<_> = watches.iter_mut().map(|watch| Box::pin(watch.next())).collect();
        for (next, count) in waiting.iter_mut().zip(&counts) {
            let waker = Waker::from(count.clone());
            assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        create_all(&store, "a", 0, 64).await;
    }
    assert!(counts.iter().all(|count| count.0.load(Ordering::Relaxed) == 1));
    let (first, _) = drain(&mut watches[0]);
    assert_eq!(first.len(), 64);
    for watch in &mut watches[1..] {
        let (events, batches) = drain(watch);
        assert_eq!((events.len(), batches), (64, 1));
        assert!(events.iter().zip(&first).all(|(a, b)| Arc::ptr_eq(&a.entry, &b.entry)));
    }
}

#[tokio::test(start_paused = true)]
async fn others_events_wake_nobody() {
    let store = with_history(HistoryLimits::default()).await;
    let start = store.revision();
    let mut namespaced = store.watch("pods", Some("mine"), start).unwrap();
    let mut other = store.watch("services", None, start).unwrap();
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let mut context = Context::from_waker(&waker);
    {
        let mut namespaced = pin!(namespaced.next());
        let mut other = pin!(other.next());
        assert!(namespaced.as_mut().poll(&mut context).is_pending());
        assert!(other.as_mut().poll(&mut context).is_pending());
        create_all(&store, "theirs", 0, 10).await;
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        create_all(&store, "mine", 0, 10).await;
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
    assert_eq!(drain(&mut namespaced).0.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_is_cut_off_and_holds_nothing_back() {
    let store = with_history(HistoryLimits { events: 100, ..HistoryLimits::default() }).await;
    let start = store.revision();
    let mut slow = store.watch("pods", None, start).unwrap();
    let mut quick = store.watch("pods", None, start).unwrap();
    let mut idle = store.watch("services", None, start).unwrap();
    let mut seen = 0;
    for round in 0..100 {
        create_all(&store, "a", round * 10, 10).await;
        seen += drain(&mut quick).0.len();
        assert!(store.stats().history_events <= 100);
    }
    assert_eq!(seen, 1000);
    let lost = slow.next().await.err();
    assert!(matches!(lost, Some(StoreError::Compacted { requested, .. }) if requested == start), "{lost:?}");
    assert!(idle.try_next().unwrap().is_none());
    assert_eq!(idle.progress(), store.revision());
    assert_eq!(store.stats().oldest, store.revision() - 100);
}

#[tokio::test(start_paused = true)]
async fn history_is_bounded_by_bytes_and_age() {
    let store = with_history(HistoryLimits { bytes: 100_000, ..HistoryLimits::default() }).await;
    let mut entry = store.create(pod("a"), draft("x", 1000), Durability::Flushed).await.unwrap();
    for _ in 0..500 {
        entry = store.update(&entry.key, entry.revision, draft("x", 1000), Durability::Flushed).await.unwrap();
        assert!(store.stats().history_bytes <= 100_000);
    }
    assert!((50..100).contains(&store.stats().history_events), "{:?}", store.stats());

    let store = with_history(HistoryLimits { age: Duration::from_mins(1), ..HistoryLimits::default() }).await;
    let old = store.create(pod("a"), draft("x", 10), Durability::Flushed).await.unwrap();
    tokio::time::advance(Duration::from_secs(59)).await;
    let young = store.create(pod("b"), draft("x", 10), Durability::Flushed).await.unwrap();
    assert!(store.snapshot_at(old.revision - 1).is_ok());
    tokio::time::advance(Duration::from_secs(2)).await;
    store.create(pod("c"), draft("x", 10), Durability::Flushed).await.unwrap();
    assert!(matches!(store.snapshot_at(old.revision - 1), Err(StoreError::Compacted { .. })));
    assert!(store.snapshot_at(young.revision - 1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn going_back_is_exact_across_anchors() {
    let store = with_history(HistoryLimits::default()).await;
    let start = store.revision();
    for round in 0..30 {
        create_all(&store, "a", round * 100, 100).await;
    }
    for back in (0..3000).step_by(37) {
        let snapshot = store.snapshot_at(start + back).unwrap();
        assert_eq!(snapshot.count("pods", None) as u64, back);
        assert!(snapshot.range("pods", None, None).all(|entry| entry.revision <= start + back));
    }
}
