//! Two stores over one simulated etcd that fails in every way it can, from one seed each: what was
//! acknowledged happened, once; what was refused did not; everybody sees the same.
//!
//! `ORLOP_SEEDS=20000` runs more seeds, `ORLOP_SEED=17` one.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use orlop_store::{Draft, Durability, EtcdConfig, EtcdFaults, Key, Revision, SimEtcd, Store, StoreError, Watch};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// As many as take seconds in a build without optimization.
const SEEDS: u64 = 20;
const WRITERS: u64 = 6;
const KEYS: u8 = 4;

/// What came of a write, by the number that it stores; a deletion by that of its own.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Done {
        key: Key,
        revision: Revision,
        deleted: bool,
    },
    Refused,
    /// The client was told that it is not known.
    Unknown,
}

#[derive(Default)]
struct Record {
    next: Cell<u64>,
    outcomes: RefCell<BTreeMap<u64, Outcome>>,
    /// The newest revision that anybody was told.
    acknowledged: Cell<Revision>,
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn config() -> EtcdConfig {
    EtcdConfig {
        servers: vec!["one".into(), "two".into(), "three".into()],
        tls: None,
        prefix: "/registry".into(),
        builtin: Vec::new(),
        transformer: None,
        compaction_interval: Duration::ZERO,
    }
}

async fn write(record: &Record, store: &Store, rng: &mut fastrand::Rng) {
    let id = record.next.replace(record.next.get() + 1);
    let key = Key { resource: "pods".into(), namespace: "a".into(), name: format!("n{}", rng.u8(..KEYS)).into() };
    let draft = Draft::encode(&json!({"metadata": {"name": "x"}, "id": id}));
    let (newest, flushed) = (store.newest(&key), Durability::Flushed);
    let deleted = newest.is_some() && rng.u8(..3) == 0;
    let result = match &newest {
        None => store.create(key.clone(), draft, flushed).await,
        Some(old) if deleted => store.delete(&key, old.revision, draft, flushed).await,
        Some(old) => store.update(&key, old.revision, draft, flushed).await,
    };
    let outcome = match result {
        Ok(entry) => {
            record.acknowledged.set(record.acknowledged.get().max(entry.revision));
            Outcome::Done { key, revision: entry.revision, deleted }
        }
        Err(StoreError::Exists | StoreError::NotFound | StoreError::Conflict(_)) => Outcome::Refused,
        Err(StoreError::Io(_) | StoreError::Compacted { .. }) => Outcome::Unknown,
        Err(error) => panic!("{error}"),
    };
    record.outcomes.borrow_mut().insert(id, outcome);
}

async fn work(record: &Record, stores: &[Store; 2], mut rng: fastrand::Rng, end: Instant) {
    while Instant::now() < end {
        let store = &stores[rng.usize(..2)];
        if rng.u8(..4) == 0 {
            let acknowledged = record.acknowledged.get();
            if let Ok(snapshot) = store.consistent("pods").await {
                assert!(snapshot.revision() >= acknowledged, "a read that does not show what was acknowledged");
            }
        } else {
            write(record, store, &mut rng).await;
        }
        sleep(Duration::from_millis(rng.u64(..200))).await;
    }
}

fn draw_faults(rng: &mut fastrand::Rng) -> EtcdFaults {
    let mut rate = |max: u32| if rng.u32(..3) == 0 { 0 } else { rng.u32(..max) };
    let (lost, unanswered, late) = (rate(150), rate(150), rate(150));
    EtcdFaults { lost, unanswered, late, late_max: Duration::from_millis(rng.u64(1..4000)) }
}

/// Disasters until the end. Answers whether anything was forgotten.
async fn storm(etcd: &SimEtcd, mut rng: fastrand::Rng, end: Instant) -> bool {
    let mut forgot = false;
    while Instant::now() < end {
        sleep(Duration::from_millis(rng.u64(100..6000))).await;
        match rng.u8(..5) {
            0 => etcd.cut(),
            1 => etcd.elect(Duration::from_millis(rng.u64(100..3000))),
            // Longer than anybody tries.
            2 if rng.u8(..8) == 0 => etcd.elect(Duration::from_secs(20)),
            3 => {
                etcd.cut();
                etcd.compact(rng.u64(..8));
                forgot = true;
            }
            _ => etcd.set_faults(draw_faults(&mut rng)),
        }
    }
    forgot
}

/// What really happened to objects: at which revision, to which, and the number stored there.
fn truth(etcd: &SimEtcd) -> BTreeMap<Revision, (String, Option<u64>)> {
    let number = |value: &[u8]| serde_json::from_slice::<serde_json::Value>(value).unwrap()["id"].as_u64().unwrap();
    let object = |(key, revision, value): (String, Revision, Option<bytes::Bytes>)| {
        let name = key.strip_prefix("/registry/pods/a/")?.to_owned();
        Some((revision, (name, value.map(|value| number(&value)))))
    };
    etcd.past().into_iter().filter_map(object).collect()
}

fn judge(record: &Record, truth: &BTreeMap<Revision, (String, Option<u64>)>) {
    let stored: Vec<u64> = truth.values().filter_map(|(_, number)| *number).collect();
    let distinct: BTreeSet<u64> = stored.iter().copied().collect();
    assert_eq!(distinct.len(), stored.len(), "nothing is done twice");
    let outcomes = record.outcomes.borrow();
    let mut told = BTreeSet::new();
    for (id, outcome) in &*outcomes {
        match outcome {
            Outcome::Done { key, revision, deleted } => {
                let want = (key.name.to_string(), (!deleted).then_some(*id));
                assert_eq!(truth.get(revision), Some(&want), "write {id} was acknowledged at {revision}");
                assert!(told.insert(*revision), "revision {revision} was told to two writers");
            }
            Outcome::Refused => assert!(!distinct.contains(id), "write {id} was refused"),
            Outcome::Unknown => {}
        }
    }
    let unknown = outcomes.values().filter(|outcome| **outcome == Outcome::Unknown).count();
    assert!(truth.len() <= told.len() + unknown, "somebody is told of everything that happens");
}

/// Everything that the watch told leads to what is there; answers the revisions.
fn replay(watch: &mut Watch, store: &Store) -> Vec<Revision> {
    let (mut revisions, mut state) = (Vec::new(), BTreeMap::new());
    while let Some(batch) = watch.try_next().unwrap() {
        for event in batch.iter() {
            revisions.push(event.revision);
            let key = event.entry.key.clone();
            if event.deleted {
                state.remove(&key);
            } else {
                state.insert(key, event.entry.json.clone());
            }
        }
    }
    assert!(revisions.is_sorted(), "{revisions:?}");
    let there: BTreeMap<_, _> = store.snapshot().state().entries().map(|e| (e.key.clone(), e.json.clone())).collect();
    assert_eq!(state, there);
    revisions
}

async fn simulate(seed: u64) -> Vec<(String, Revision, Option<bytes::Bytes>)> {
    let mut rng = fastrand::Rng::with_seed(seed);
    fastrand::seed(seed);
    let (etcd, record) = (SimEtcd::new(seed), Record::default());
    let open = || async { Store::in_sim_etcd(&etcd, config()).await.unwrap() };
    let stores = [open().await, open().await];
    let mut watches = [0, 1].map(|i: usize| stores[i].watch("pods", None, stores[i].revision()).unwrap());
    let end = Instant::now() + Duration::from_secs(rng.u64(10..60));
    etcd.set_faults(draw_faults(&mut rng));
    let workers: Vec<_> = (0..WRITERS).map(|_| work(&record, &stores, rng.fork(), end)).collect();
    let (_, forgot) = tokio::join!(join_all(workers), storm(&etcd, rng.fork(), end));
    etcd.set_faults(EtcdFaults::default());
    // What came late is in by then.
    sleep(Duration::from_secs(30)).await;
    let truth = truth(&etcd);
    judge(&record, &truth);
    for (store, watch) in stores.iter().zip(&mut watches) {
        store.catch_up().await.unwrap();
        let seen = replay(watch, store);
        assert!(forgot || seen == truth.keys().copied().collect::<Vec<_>>(), "a watch misses nothing: {seen:?}");
    }
    let other = open().await;
    let state = |store: &Store| store.snapshot().state().entries().map(|e| e.json.clone()).collect::<Vec<_>>();
    assert!(stores.iter().all(|store| state(store) == state(&other)), "a new store sees the same");
    etcd.past()
}

/// A client that knows its member waits a moment between two tries.
const RESUMES: Duration = Duration::from_millis(500);

#[tokio::test(start_paused = true)]
async fn writes_stall_no_longer_than_an_election() {
    let etcd = SimEtcd::new(0);
    let store = Store::in_sim_etcd(&etcd, config()).await.unwrap();
    let key = Key { resource: "pods".into(), namespace: "a".into(), name: "x".into() };
    let draft = || Draft::encode(&json!({"metadata": {"name": "x"}}));
    let mut newest = store.create(key.clone(), draft(), Durability::Flushed).await.unwrap();
    for takes in [10, 100, 1_000, 3_000, 10_000].map(Duration::from_millis) {
        etcd.elect(takes);
        let began = Instant::now();
        newest = store.update(&key, newest.revision, draft(), Durability::Flushed).await.unwrap();
        let stall = began.elapsed();
        assert!((takes..takes + RESUMES).contains(&stall), "{stall:?} without an answer, an election of {takes:?}");
    }
}

/// In a thread of its own, whose generator it seeds.
fn run(seed: u64) -> std::thread::Result<Vec<(String, Revision, Option<bytes::Bytes>)>> {
    let simulation = move || {
        let builder = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        builder.unwrap().block_on(simulate(seed))
    };
    std::thread::spawn(simulation).join()
}

#[test]
fn every_seed_keeps_every_promise() {
    let seeds = match number("ORLOP_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ORLOP_SEEDS").unwrap_or(SEEDS),
    };
    let broken: Vec<u64> = seeds.filter(|seed| run(*seed).is_err()).collect();
    assert!(broken.is_empty(), "seeds that broke a promise: {broken:?}");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..4 {
        assert_eq!(run(seed).unwrap(), run(seed).unwrap(), "seed {seed}");
    }
}
