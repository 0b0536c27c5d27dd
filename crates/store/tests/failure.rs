//! Disks that fail: writes end with the error, reads go on, a restart has what was acknowledged.
#![allow(clippy::unwrap_used)]

mod common;

use std::io;
use std::time::Duration;

use common::{draft, key, open, picture, pod};
use orlop_store::disk::{Faults, SimDisk};
use orlop_store::{Config, Durability, OpenError, Store, StoreError, UNFLUSHED_REVISIONS};

const SEGMENT: u64 = 64 << 10;

async fn fails_from_now_on(store: &Store, kind: io::ErrorKind) {
    let before = (store.revision(), picture(&store.snapshot()));
    let newest = store.newest(&pod("kept")).unwrap();
    let refused = [
        store.create(pod("late"), draft("x", 10), Durability::Flushed).await,
        store.create(pod("late"), draft("x", 10), Durability::Relaxed).await,
        store.update(&newest.key, newest.revision, draft("x", 10), Durability::Flushed).await,
    ];
    for result in refused {
        assert!(matches!(&result, Err(StoreError::Io(error)) if error.kind() == kind), "{result:?}");
    }
    assert_eq!((store.revision(), picture(&store.snapshot())), before, "reads go on");
    assert!(store.newest(&pod("lost")).is_none());
    assert_eq!(store.consistent("pods").await.unwrap().revision(), before.0);
    let waited = store.wait_for(before.0 + 1).await;
    assert!(matches!(waited, Err(StoreError::Io(_))), "{waited:?}");
    let mut watch = store.watch("pods", None, before.0).unwrap();
    assert!(watch.try_next().unwrap().is_none());
    assert!(store.stats().backend.failure.is_some());
    let closed = store.close().await;
    assert!(matches!(closed, Err(StoreError::Io(_))), "{closed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_flush_poisons() {
    let disk = SimDisk::new();
    let store = open(&disk, SEGMENT).await.unwrap();
    store.create(pod("kept"), draft("x", 10), Durability::Flushed).await.unwrap();
    let kept = (store.revision(), picture(&store.snapshot()));
    disk.set_faults(Faults { flush: true, flush_delay: Duration::from_millis(1), ..Faults::default() });
    let (relaxed, flushed, queued) = tokio::join!(
        store.create(key("leases", "a", "b"), draft("x", 10), Durability::Relaxed),
        store.create(pod("lost"), draft("x", 10), Durability::Flushed),
        async {
            tokio::time::sleep(Duration::from_micros(500)).await;
            store.create(pod("queued"), draft("x", 10), Durability::Flushed).await
        },
    );
    assert!(relaxed.is_ok(), "was acknowledged at once");
    for result in [flushed, queued] {
        assert!(matches!(result, Err(StoreError::Io(_))), "{result:?}");
    }
    fails_from_now_on(&store, io::ErrorKind::Other).await;
    let again = open(&disk.crash(1), SEGMENT).await.unwrap();
    assert!(again.revision() >= kept.0);
    assert_eq!(again.get(&pod("kept")).unwrap().json, kept.1[&pod("kept")].1);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_poisons_and_a_restart_with_room_goes_on() {
    let disk = SimDisk::new();
    disk.set_faults(Faults { capacity: Some(3 * SEGMENT), ..Faults::default() });
    let store = open(&disk, SEGMENT).await.unwrap();
    store.create(pod("kept"), draft("x", 10), Durability::Flushed).await.unwrap();
    let mut count = 0;
    let error = loop {
        match store.create(pod(&format!("p{count}")), draft("x", 1000), Durability::Flushed).await {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(count > 100, "{count}");
    assert_eq!(error.to_string(), "writing the log failed: creating 0000000000000004.log: no storage space");
    let before = (store.revision(), picture(&store.snapshot()));
    fails_from_now_on(&store, io::ErrorKind::StorageFull).await;
    disk.set_faults(Faults::default());
    let store = open(&disk, SEGMENT).await.unwrap();
    assert_eq!((store.revision(), picture(&store.snapshot())), (before.0 + UNFLUSHED_REVISIONS, before.1));
    store.create(pod("more"), draft("x", 1000), Durability::Flushed).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_rots_behind_our_back_is_noticed_when_it_is_copied() {
    let disk = SimDisk::new();
    let store = open(&disk, SEGMENT).await.unwrap();
    let mut kept = store.create(pod("kept"), draft("x", 10), Durability::Flushed).await.unwrap();
    let name = "0000000000000001.log";
    for n in 0..100 {
        store.create(pod(&format!("p{n}")), draft("x", 1000), Durability::Flushed).await.unwrap();
    }
    let mut bytes = disk.contents(name).unwrap();
    bytes[5000] ^= 1;
    disk.plant(name, bytes);
    let error = loop {
        match store.update(&kept.key, kept.revision, draft("y", 1000), Durability::Flushed).await {
            Ok(entry) => kept = entry,
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("log file 0000000000000001.log is corrupt at offset 4"), "{error}");
}

#[tokio::test]
async fn a_directory_has_one_user() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/on/the/way");
    let store = Store::open(Config::at(&path)).await.unwrap();
    let second = Store::open(Config::at(&path)).await.err();
    assert!(matches!(&second, Some(OpenError::InUse(at)) if *at == path), "{second:?}");
    store.close().await.unwrap();
    Store::open(Config::at(&path)).await.unwrap().close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn too_large_is_refused_and_the_largest_fits() {
    let store = open(&SimDisk::new(), SEGMENT).await.unwrap();
    let limit = orlop_store::Limits::default().object_bytes;
    let refused = store.create(pod("a"), draft("x", limit), Durability::Flushed).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    store.create(pod("a"), draft("x", limit - 100), Durability::Flushed).await.unwrap();
    let revision = store.revision();
    assert_eq!(store.get(&pod("a")).unwrap().revision, revision);
}
