//! The log gives space back, all the time, in small steps.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{draft, key, open, picture, pod};
use orlop_store::disk::{Faults, SimDisk};
use orlop_store::{Config, Durability, Limits, Store};

const SEGMENT: u64 = 64 << 10;
/// Two files of slack, the active one, and the one that is about to go.
const CONSTANT: u64 = 4 * SEGMENT;

#[tokio::test(start_paused = true)]
async fn endless_leases_over_much_that_is_still() {
    let disk = SimDisk::new();
    let store = open(&disk, SEGMENT).await.unwrap();
    for n in 0..1000 {
        store.create(pod(&format!("p{n}")), draft("still", 1000), Durability::Flushed).await.unwrap();
    }
    let mut leases = Vec::new();
    for n in 0..50 {
        let lease = key("leases", "kube-node-lease", &format!("n{n}"));
        leases.push(store.create(lease, draft("lease", 300), Durability::Flushed).await.unwrap());
    }
    let mut worst = (0.0, 0u64);
    for round in 0..400 {
        for lease in &mut leases {
            let before = disk.written();
            let text = format!("round {round}");
            *lease = store.update(&lease.key, lease.revision, draft(&text, 300), Durability::Flushed).await.unwrap();
            worst.1 = worst.1.max(disk.written() - before);
        }
        let live = store.stats().backend.live_bytes;
        assert!(disk.used() < 2 * live + CONSTANT, "{} for {live}", disk.used());
        let over = disk.used().saturating_sub(CONSTANT) as f64 / live as f64;
        worst.0 = f64::max(worst.0, over);
    }
    let stats = store.stats().backend;
    assert!(stats.copied_bytes > 0 && stats.log_segments < 40, "{stats:?}");
    // A group is delayed by a few of its own sizes and one old record group, not by a whole file.
    assert!(worst.1 < 16 * 1024, "{} bytes in one flush", worst.1);
    let before = (store.revision(), picture(&store.snapshot()));
    store.close().await.unwrap();
    let again = open(&disk, SEGMENT).await.unwrap();
    assert_eq!((again.revision(), picture(&again.snapshot())), before);
}

#[tokio::test(start_paused = true)]
async fn events_that_come_and_go_until_nothing_is_left() {
    let disk = SimDisk::new();
    let store = open(&disk, SEGMENT).await.unwrap();
    let mut alive = std::collections::VecDeque::new();
    for n in 0..6000 {
        let event = key("events", "default", &format!("e{n}"));
        alive.push_back(store.create(event, draft("event", 900), Durability::Relaxed).await.unwrap());
        if n % 20 == 0 {
            store.consistent("events").await.unwrap();
        }
        if alive.len() > 800 {
            let oldest = alive.pop_front().unwrap();
            store.delete(&oldest.key, oldest.revision, draft("gone", 900), Durability::Flushed).await.unwrap();
        }
        let live = store.stats().backend.live_bytes;
        assert!(disk.used() < 2 * live + CONSTANT, "{} for {live} at {n}", disk.used());
    }
    while let Some(oldest) = alive.pop_front() {
        store.delete(&oldest.key, oldest.revision, draft("gone", 900), Durability::Flushed).await.unwrap();
        let live = store.stats().backend.live_bytes;
        assert!(disk.used() < 2 * live + CONSTANT, "{} for {live} with {} left", disk.used(), alive.len());
    }
    assert_eq!(store.stats().backend.live_bytes, 0);
    let revision = store.revision();
    store.close().await.unwrap();
    let again = open(&disk, SEGMENT).await.unwrap();
    assert_eq!((again.revision(), again.snapshot().state().len()), (revision, 0));
}

#[tokio::test(start_paused = true)]
async fn restarts_alone_take_no_space() {
    let disk = SimDisk::new();
    for n in 0..200 {
        let store = open(&disk, SEGMENT).await.unwrap();
        store.create(pod(&format!("p{n}")), draft("x", 10), Durability::Flushed).await.unwrap();
        store.close().await.unwrap();
    }
    assert_eq!(disk.used(), SEGMENT);
}

#[tokio::test(start_paused = true)]
async fn one_flush_carries_all_that_wait() {
    let disk = SimDisk::new();
    let store = open(&disk, 4 << 20).await.unwrap();
    let before = disk.flushes();
    let creates = (0..64).map(|n| store.create(pod(&format!("p{n}")), draft("x", 1000), Durability::Flushed));
    let results = futures_util::future::join_all(creates).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(disk.flushes() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn relaxed_writers_wait_when_too_much_is_unflushed() {
    let disk = SimDisk::new();
    disk.set_faults(Faults { flush_delay: Duration::from_secs(1), ..Faults::default() });
    let limits = Limits { unflushed_bytes: 10_000, ..Limits::default() };
    let store = Store::open(Config::on(Arc::new(disk)).with_limits(limits)).await.unwrap();
    let first = store.create(key("events", "a", "first"), draft("x", 10), Durability::Relaxed).await.unwrap();
    assert_eq!(store.revision(), first.revision, "the first write of all breaks the seal");
    let start = tokio::time::Instant::now();
    for n in 0..9 {
        store.create(key("events", "a", &format!("e{n}")), draft("x", 1000), Durability::Relaxed).await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    store.create(key("events", "a", "straw"), draft("x", 1000), Durability::Relaxed).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert_eq!(store.snapshot().count("events", None), 11);
}
