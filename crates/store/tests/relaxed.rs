//! Relaxed writes: told of before they are on disk, and waited for.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{draft, pod};
use orlop_store::disk::{Faults, SimDisk};
use orlop_store::{Config, Durability, Entry, Limits, Store};
use tokio::time::Instant;

/// A store that has had a first write, which is never relaxed, and a relaxed one.
async fn told(disk: &SimDisk, limits: Limits, flush_delay: Duration) -> (Store, Arc<Entry>) {
    let store = Store::open(Config::on(Arc::new(disk.clone())).with_limits(limits)).await.unwrap();
    store.create(pod("first"), draft("", 1), Durability::Flushed).await.unwrap();
    disk.set_faults(Faults { flush_delay, ..Faults::default() });
    let told = store.create(pod("told"), draft("", 1), Durability::Relaxed).await.unwrap();
    assert!(store.revision() < told.revision);
    assert!(store.get(&told.key).is_none());
    (store, told)
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_one_hastens_it() {
    let relaxed_delay = Duration::from_hours(1);
    let limits = Limits { relaxed_delay, ..Limits::default() };
    let (store, told) = told(&SimDisk::new(), limits, Duration::ZERO).await;
    let began = Instant::now();
    store.wait_for(told.revision).await.unwrap();
    assert!(began.elapsed() < relaxed_delay, "nobody else writes");
    assert!(store.get(&told.key).is_some());
}

#[tokio::test(start_paused = true)]
async fn its_revision_is_promised_however_slow_the_disk() {
    let (store, told) = told(&SimDisk::new(), Limits::default(), Duration::from_mins(1)).await;
    assert_eq!(store.promised(), told.revision);
    store.wait_for(told.revision).await.unwrap();
    assert_eq!((store.revision(), store.promised()), (told.revision, told.revision));
}
