//! What the store costs: `store_bench [directory] [writers] [seconds]`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orlop_store::{Config, Draft, Durability, Key, Store};
use serde_json::json;

const OBJECT_BYTES: usize = 1000;
const LISTED: usize = 10_000;
const WATCHERS: usize = 1000;

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let dir =
        args.next().map_or_else(std::env::temp_dir, PathBuf::from).join(format!("store-bench-{}", std::process::id()));
    let writers: usize = args.next().map_or(64, |text| text.parse().unwrap());
    let duration = Duration::from_secs(args.next().map_or(3, |text| text.parse().unwrap()));
    let store = Store::open(Config::at(&dir)).await.unwrap();
    creates(&store, writers, duration).await;
    updates(&store, writers, duration).await;
    lists(&store).await;
    watchers(&store).await;
    memory();
    println!("{:?}", store.stats());
    store.close().await.unwrap();
    let start = Instant::now();
    let again = Store::open(Config::at(&dir)).await.unwrap();
    println!("reopen: {} objects in {:?}", again.snapshot().state().len(), start.elapsed());
    again.close().await.unwrap();
    std::fs::remove_dir_all(dir).unwrap();
}

fn key(resource: &str, name: String) -> Key {
    Key { resource: resource.into(), namespace: "default".into(), name: name.into() }
}

fn draft(name: &str) -> Draft {
    Draft::encode(&json!({"kind": "ConfigMap", "metadata": {"name": name}, "data": {"fill": "x".repeat(OBJECT_BYTES)}}))
}

async fn creates(store: &Store, writers: usize, duration: Duration) {
    let before = store.stats().backend;
    let deadline = Instant::now() + duration;
    let write = |writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut waits = Vec::new();
            while Instant::now() < deadline {
                let name = format!("c{writer}-{}", waits.len());
                let draft = draft(&name);
                let start = Instant::now();
                store.create(key("configmaps", name), draft, Durability::Flushed).await.unwrap();
                waits.push(start.elapsed());
            }
            waits
        })
    };
    report("creates", store, &before, duration, join_all((0..writers).map(write)).await);
}

async fn updates(store: &Store, writers: usize, duration: Duration) {
    let before = store.stats().backend;
    let deadline = Instant::now() + duration;
    let write = |writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut entry =
                store.create(key("leases", format!("l{writer}")), draft("l"), Durability::Flushed).await.unwrap();
            let mut waits = Vec::new();
            while Instant::now() < deadline {
                let start = Instant::now();
                entry = store.update(&entry.key, entry.revision, draft("l"), Durability::Flushed).await.unwrap();
                waits.push(start.elapsed());
            }
            waits
        })
    };
    report("updates", store, &before, duration, join_all((0..writers).map(write)).await);
}

fn report(
    what: &str,
    store: &Store,
    before: &orlop_store::BackendStats,
    duration: Duration,
    waits: Vec<Result<Vec<Duration>, tokio::task::JoinError>>,
) {
    let mut waits: Vec<Duration> = waits.into_iter().flat_map(Result::unwrap).collect();
    waits.sort_unstable();
    let now = store.stats().backend;
    let per_flush = (now.writes - before.writes) as f64 / (now.flushes - before.flushes) as f64;
    println!(
        "{what}: {:.0}/s, p50 {:?}, p99 {:?}, max {:?}, {per_flush:.1} per flush",
        waits.len() as f64 / duration.as_secs_f64(),
        waits[waits.len() / 2],
        waits[waits.len() * 99 / 100],
        waits[waits.len() - 1],
    );
}

async fn lists(store: &Store) {
    let creates = (0..LISTED).map(|n| store.create(key("pods", format!("p{n}")), draft("p"), Durability::Flushed));
    join_all(creates).await;
    let mut body = Vec::new();
    for round in 0..3 {
        let start = Instant::now();
        let snapshot = store.snapshot();
        let walked = snapshot.range("pods", None, None).count();
        let walk = start.elapsed();
        body.clear();
        let start = Instant::now();
        snapshot.range("pods", None, None).for_each(|entry| body.extend_from_slice(&entry.json));
        println!(
            "list {round}: {walked} objects walked in {walk:?}, copied ({} bytes) in {:?}",
            body.len(),
            start.elapsed()
        );
    }
    let newest = store.revision();
    let start = Instant::now();
    let past = store.snapshot_at(newest - 5000).unwrap();
    println!("going back 5000 revisions: {:?} ({} pods)", start.elapsed(), past.count("pods", None));
}

async fn watchers(store: &Store) {
    let mut tasks = Vec::new();
    for _ in 0..WATCHERS {
        let mut watch = store.watch("pods", None, store.revision()).unwrap();
        tasks.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < 100 {
                let batch = watch.next().await.unwrap();
                let now = Instant::now();
                seen.extend(batch.iter().map(|_| now));
            }
            seen
        }));
    }
    let mut committed = Vec::new();
    for n in 0..100 {
        store.create(key("pods", format!("w{n}")), draft("w"), Durability::Flushed).await.unwrap();
        committed.push(Instant::now());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut delays: Vec<Duration> = Vec::new();
    for seen in join_all(tasks).await {
        delays.extend(seen.unwrap().iter().zip(&committed).map(|(seen, at)| seen.saturating_duration_since(*at)));
    }
    delays.sort_unstable();
    println!(
        "commit to {WATCHERS} watchers: p50 {:?}, p99 {:?}",
        delays[delays.len() / 2],
        delays[delays.len() * 99 / 100]
    );
}

fn memory() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = |name| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    println!("{} {}", line("VmHWM"), line("VmRSS"));
}
