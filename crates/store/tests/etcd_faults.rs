//! Members that die or fall silent, networks that lose replies: nothing acknowledged is lost, nothing is
//! done twice, and a watch sees each change once.
#![allow(clippy::unwrap_used)]

#[path = "common/etcd.rs"]
mod common;
#[path = "common/proxy.rs"]
mod proxy;
#[path = "common/tls.rs"]
mod tls;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Election, EtcdCluster, Member};
use futures_util::future::join_all;
use orlop_store::{
    Draft, Durability, Entry, EtcdConfig, Event, Key, Opened, Revision, SEALED_PREFIX, Store, StoreError, Transformer,
    Watch,
};
use proxy::{Network, Proxy};
use serde_json::json;
use tls::Certificates;
use tokio::sync::Notify;

const PREFIX: &str = "/registry";
const WRITERS: usize = 16;
/// Of each writer. The fault comes in the middle.
const WRITES: u64 = 40;

fn pod(name: &str) -> Key {
    Key { resource: "pods".into(), namespace: "default".into(), name: name.into() }
}

fn draft(value: u64) -> Draft {
    Draft::encode(&json!({"metadata": {"name": "x"}, "value": value}))
}

fn value(entry: &Entry) -> u64 {
    let object: serde_json::Value = serde_json::from_slice(&entry.json).unwrap();
    object["value"].as_u64().unwrap()
}

async fn create(store: &Store, name: &str, value: u64) -> Result<Arc<Entry>, StoreError> {
    store.create(pod(name), draft(value), Durability::Flushed).await
}

async fn update(store: &Store, old: &Entry, value: u64) -> Result<Arc<Entry>, StoreError> {
    store.update(&old.key, old.revision, draft(value), Durability::Flushed).await
}

async fn delete(store: &Store, old: &Entry) -> Result<Arc<Entry>, StoreError> {
    store.delete(&old.key, old.revision, draft(0), Durability::Flushed).await
}

async fn next_events(watch: &mut Watch, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(watch.next().await.unwrap().iter().cloned());
    }
    events
}

type Acknowledged = BTreeMap<Revision, (String, u64)>;

/// When what was acknowledged.
#[derive(Default)]
struct Progress {
    acknowledged: Mutex<Vec<Instant>>,
    halfway: Notify,
}

impl Progress {
    fn step(&self) {
        let mut acknowledged = self.acknowledged.lock().unwrap();
        acknowledged.push(Instant::now());
        if acknowledged.len() == WRITERS * WRITES as usize / 2 {
            self.halfway.notify_one();
        }
    }

    /// The longest that nothing was.
    fn stall(&self) -> Duration {
        let acknowledged = self.acknowledged.lock().unwrap();
        acknowledged.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
    }
}

/// Each counts its own object up, and all of them one that they share.
async fn write(store: &Store, writer: usize, progress: &Progress) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    let mut own = create(store, &format!("own-{writer}"), 0).await.unwrap();
    acknowledged.insert(own.revision, (own.key.name.to_string(), 0));
    for count in 1..WRITES {
        own = if count % 2 == 0 {
            update(store, &own, count).await.unwrap()
        } else {
            let mut shared = store.newest(&pod("shared")).unwrap();
            loop {
                match update(store, &shared, value(&shared) + 1).await {
                    Ok(entry) => break drop(acknowledged.insert(entry.revision, ("shared".into(), value(&entry)))),
                    Err(StoreError::Conflict(newest)) => shared = newest,
                    Err(error) => panic!("{error}"),
                }
            }
            update(store, &own, count).await.unwrap()
        };
        acknowledged.insert(own.revision, (own.key.name.to_string(), count));
        progress.step();
    }
    acknowledged
}

/// Writes while `fault` comes over the cluster; then everything that was acknowledged must have happened
/// once, and nothing else. Answers how long at most nothing was acknowledged.
async fn survives(cluster: &mut EtcdCluster, fault: impl AsyncFnOnce(&mut EtcdCluster)) -> Duration {
    let store = cluster.open(PREFIX).await;
    let shared = create(&store, "shared", 0).await.unwrap();
    let mut watch = store.watch("pods", None, shared.revision).unwrap();
    let progress = Progress::default();
    let writers = join_all((0..WRITERS).map(|writer| write(&store, writer, &progress)));
    let fault = async {
        progress.halfway.notified().await;
        fault(cluster).await;
    };
    let (acknowledged, ()) = tokio::join!(writers, fault);
    let count: usize = acknowledged.iter().map(BTreeMap::len).sum();
    let acknowledged: Acknowledged = acknowledged.into_iter().flatten().collect();
    assert_eq!(acknowledged.len(), count, "no revision was given twice");
    let events = next_events(&mut watch, count).await;
    assert!(events.is_sorted_by_key(|event| event.revision));
    let seen: Vec<_> = events.iter().map(|e| (e.revision, (e.entry.key.name.to_string(), value(&e.entry)))).collect();
    assert_eq!(seen, acknowledged.into_iter().collect::<Vec<_>>());
    let last = store.get(&pod("shared")).unwrap();
    assert_eq!(value(&last) as usize, count - WRITERS * WRITES as usize, "counted once each");
    let other = cluster.open(PREFIX).await;
    let state = |store: &Store| {
        store.snapshot().state().entries().map(|e| (e.key.clone(), e.json.clone())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(state(&other), state(&store));
    progress.stall()
}

/// Loses the leader of three with TLS: writes go on when there is another, and it is told how soon. That it is at once
/// can be promised where a busy machine does not count: `writes_stall_no_longer_than_an_election`, in simulated time.
#[allow(clippy::print_stdout)]
async fn survives_without_the_leader(lose: impl FnOnce(&mut Member)) {
    let certificates = Certificates::make();
    let mut cluster = EtcdCluster::start_with(3, Some(certificates.client()), &certificates.arguments());
    let mut took = None;
    let stall = survives(&mut cluster, async |cluster| {
        let (leader, mut elections) = (cluster.leader(), cluster.elections());
        let (began, before) = (Instant::now(), elections.borrow_and_update().clone().unwrap());
        lose(&mut cluster.members[leader]);
        let is_next = |last: &Option<Election>| last.as_ref().is_some_and(|last| last.term > before.term);
        let next = elections.wait_for(is_next).await.unwrap().clone().unwrap();
        took = Some(next.at - began);
    })
    .await;
    let election = took.unwrap();
    println!("an election of {} ms, a stall of {} ms", election.as_millis(), stall.as_millis());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed() {
    survives_without_the_leader(Member::kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_falls_silent() {
    survives_without_the_leader(|leader| leader.freeze()).await;
}

/// The first of the list is the one that the store talks to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_member_at_the_other_end_falls_silent() {
    survives(&mut EtcdCluster::start(3), async |cluster| cluster.members[0].freeze()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_member_is_restarted() {
    survives(&mut EtcdCluster::start(1), async |cluster| {
        cluster.members[0].kill();
        cluster.members[0].restart();
    })
    .await;
}

/// A store behind a network that can fail, and one that is not.
async fn near_and_far() -> (EtcdCluster, Proxy, Store, Store) {
    let cluster = EtcdCluster::start(1);
    let proxy = Proxy::before(&cluster.members[0].url).await;
    let mut config = cluster.config(PREFIX);
    config.servers = vec![proxy.url.clone()];
    let (far, near) = (common::open(config).await, cluster.open(PREFIX).await);
    (cluster, proxy, far, near)
}

#[tokio::test]
async fn a_write_whose_reply_is_lost_is_done_once() {
    let (_cluster, proxy, far, near) = near_and_far().await;
    let mut watch = near.watch("pods", None, near.revision()).unwrap();
    let lose = async |watch: &mut Watch| {
        let event = next_events(watch, 1).await.remove(0);
        proxy.cut(Network::Whole);
        event
    };
    proxy.set(Network::Deaf);
    let (created, event) = tokio::join!(create(&far, "a", 1), lose(&mut watch));
    let created = created.unwrap();
    assert_eq!((created.revision, &created.json), (event.revision, &event.entry.json));
    proxy.set(Network::Deaf);
    let (updated, event) = tokio::join!(update(&far, &created, 2), lose(&mut watch));
    let updated = updated.unwrap();
    assert_eq!((updated.revision, updated.created), (event.revision, created.revision));
    proxy.set(Network::Deaf);
    let (deleted, event) = tokio::join!(delete(&far, &updated), lose(&mut watch));
    assert_eq!((deleted.unwrap().revision, event.deleted), (event.revision, true));
    assert!(watch.try_next().unwrap().is_none(), "nothing more");
}

#[tokio::test]
async fn a_lost_reply_is_found_behind_later_writes() {
    let (_cluster, proxy, far, near) = near_and_far().await;
    let mut watch = near.watch("pods", None, near.revision()).unwrap();
    proxy.set(Network::Deaf);
    let overwrite = async {
        let mine = next_events(&mut watch, 1).await.remove(0);
        proxy.cut(Network::Gone);
        let theirs = update(&near, &mine.entry, 2).await.unwrap();
        delete(&near, &theirs).await.unwrap();
        create(&near, "a", 1).await.unwrap();
        proxy.set(Network::Whole);
        mine
    };
    let (created, mine) = tokio::join!(create(&far, "a", 1), overwrite);
    let created = created.unwrap();
    assert_eq!((created.revision, &created.json), (mine.revision, &mine.entry.json));
}

#[tokio::test]
async fn the_same_write_by_somebody_else_is_not_taken_for_ours() {
    let (_cluster, proxy, far, near) = near_and_far().await;
    let old = create(&near, "a", 1).await.unwrap();
    far.wait_for(old.revision).await.unwrap();
    proxy.cut(Network::Gone);
    let theirs = async {
        let theirs = update(&near, &old, 2).await.unwrap();
        proxy.set(Network::Whole);
        theirs
    };
    let (mine, theirs) = tokio::join!(update(&far, &old, 2), theirs);
    assert!(matches!(&mine, Err(StoreError::Conflict(newest)) if newest.revision == theirs.revision), "{mine:?}");
}

#[tokio::test]
async fn a_deletion_by_somebody_else_is_not_taken_for_ours() {
    let (_cluster, proxy, far, near) = near_and_far().await;
    let old = create(&near, "a", 1).await.unwrap();
    far.wait_for(old.revision).await.unwrap();
    proxy.set(Network::Mute);
    let theirs = async {
        delete(&near, &old).await.unwrap();
        proxy.cut(Network::Whole);
    };
    let (mine, ()) = tokio::join!(delete(&far, &old), theirs);
    assert!(matches!(mine, Err(StoreError::NotFound)), "{mine:?}");
}

#[tokio::test]
async fn what_was_compacted_meanwhile_comes_as_a_difference() {
    let (cluster, proxy, far, near) = near_and_far().await;
    let changed = create(&near, "changed", 1).await.unwrap();
    let gone = create(&near, "gone", 1).await.unwrap();
    let same = create(&near, "same", 1).await.unwrap();
    far.wait_for(same.revision).await.unwrap();
    let mut watch = far.watch("pods", None, same.revision).unwrap();
    proxy.cut(Network::Gone);
    let changed = update(&near, &changed, 2).await.unwrap();
    let changed = update(&near, &changed, 3).await.unwrap();
    delete(&near, &gone).await.unwrap();
    let new = create(&near, "new", 1).await.unwrap();
    let compaction = format!(r#"{{"revision": {}}}"#, new.revision);
    cluster.members[0].call("/v3/kv/compaction", &compaction);
    let late = create(&near, "late", 1).await.unwrap();
    proxy.set(Network::Whole);
    far.wait_for(late.revision).await.unwrap();
    let events = next_events(&mut watch, 4).await;
    let told: Vec<_> = events.iter().map(|e| (&*e.entry.key.name, e.revision, e.deleted)).collect();
    let want = [
        ("changed", changed.revision, false),
        ("gone", new.revision, true),
        ("new", new.revision, false),
        ("late", late.revision, false),
    ];
    assert_eq!(told, want);
    assert_eq!(far.snapshot_at(same.revision).unwrap().count("pods", None), 3);
    let between = far.snapshot_at(changed.revision).err();
    assert!(matches!(between, Some(StoreError::Compacted { oldest, .. }) if oldest == new.revision), "{between:?}");
    assert_eq!(far.snapshot_at(new.revision).unwrap().count("pods", None), 3);
}

#[tokio::test]
async fn a_read_of_one_server_sees_what_another_acknowledged() {
    let cluster = EtcdCluster::start(3);
    let (one, other) = (cluster.open(PREFIX).await, cluster.open(PREFIX).await);
    let foreign = cluster.open("/elsewhere").await;
    for count in 0..50 {
        let made = create(&one, &format!("pod-{count}"), count).await.unwrap();
        // Revisions that are not ours do not hold reads up.
        create(&foreign, &format!("pod-{count}"), count).await.unwrap();
        let read = other.consistent("pods").await.unwrap();
        assert_eq!(read.find(&made.key).unwrap().json, made.json);
        assert_eq!(update(&other, &made, count + 1).await.unwrap().created, made.created);
    }
}

/// Upside down.
#[derive(Debug)]
struct Sealer;

impl Transformer for Sealer {
    fn seal(&self, _resource: &str, path: &str, json: &[u8]) -> Option<Vec<u8>> {
        Some([SEALED_PREFIX, path.as_bytes(), b":", &json.iter().map(|byte| !byte).collect::<Vec<_>>()].concat())
    }

    fn open(&self, _resource: &str, path: &str, kept: &[u8]) -> Result<Opened, String> {
        let sealed = kept.strip_prefix(&[SEALED_PREFIX, path.as_bytes(), b":"].concat()[..]).ok_or("not sealed")?;
        Ok(Opened { json: Some(sealed.iter().map(|byte| !byte).collect()), current: true })
    }

    fn generation(&self, _resource: &str) -> u64 {
        1
    }
}

#[tokio::test]
async fn objects_are_sealed_in_etcd() {
    let cluster = EtcdCluster::start(1);
    let sealing =
        || async { common::open(EtcdConfig { transformer: Some(Arc::new(Sealer)), ..cluster.config(PREFIX) }).await };
    let (store, plain) = (sealing().await, cluster.open(PREFIX).await);
    let made = create(&store, "a", 1).await.unwrap();
    assert_eq!(value(&made), 1);
    let made = update(&store, &made, 2).await.unwrap();
    let seen = plain.consistent("pods").await.unwrap().find(&made.key).cloned().unwrap();
    assert!(seen.unreadable().is_some(), "{seen:?}");
    let again = sealing().await;
    assert_eq!(again.get(&made.key).unwrap().json, made.json);
    delete(&again, &made).await.unwrap();
    assert!(plain.consistent("pods").await.unwrap().find(&made.key).is_none());
}

#[tokio::test]
async fn an_object_that_etcd_does_not_take_is_too_large() {
    let cluster = EtcdCluster::start(1);
    let store = cluster.open(PREFIX).await;
    for size in [7 << 18, 2 << 20] {
        let large = Draft::encode(&json!({"metadata": {"name": "x"}, "fill": "x".repeat(size)}));
        let refused = store.create(pod("large"), large, Durability::Flushed).await;
        assert!(matches!(refused, Err(StoreError::TooLarge { limit: 1_572_864, .. })), "{refused:?}");
    }
    create(&store, "small", 1).await.unwrap();
}
