//! Many seeds, and seeds that once found something.
//!
//! `ORLOP_SEEDS=20000` runs more of them, a quarter of that over a simulated etcd; `ORLOP_SEED=17` one, with the log on.

#![cfg(test)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use orlop_sim::{Backend, Report, Violation, run};

/// As many as a build without optimization runs in a minute on two cores; `scripts/test` runs a thousand with.
const SEEDS: u64 = 40;
/// One in so many of them runs over the simulated etcd, too, whose every request goes through a connection.
const ETCD_SHARE: u64 = 4;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Spread over the cores: every run has a thread's clock and generator to itself.
fn run_all(seeds: std::ops::Range<u64>, backend: Backend) -> Vec<(u64, Result<Report, Violation>)> {
    let (next, outcomes) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        break;
                    }
                    let outcome = run(seed, backend);
                    outcomes.lock().unwrap().push((seed, outcome));
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

#[test]
fn every_seed_keeps_every_promise() {
    keep_every_promise(Backend::Embedded, 1);
}

#[test]
fn every_seed_keeps_every_promise_over_etcd() {
    keep_every_promise(Backend::Etcd, ETCD_SHARE);
}

#[allow(clippy::print_stdout)]
fn keep_every_promise(backend: Backend, share: u64) {
    if let Some(seed) = number("ORLOP_SEED") {
        let filter = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr);
        // Another test of this process may have done so.
        let _ = filter.try_init();
        let report = run(seed, backend).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        println!("seed {seed}, {backend:?}: {report:?}");
        return;
    }
    let outcomes = run_all(0..number("ORLOP_SEEDS").unwrap_or(SEEDS) / share, backend);
    let reports: Vec<&Report> = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).collect();
    let mean =
        |of: &dyn Fn(&Report) -> u64| reports.iter().map(|r| of(r)).sum::<u64>() as f64 / reports.len().max(1) as f64;
    println!(
        "{} seeds kept every promise ({backend:?}); each on average {:.0} events, {:.0} requests, {:.1} faults ({:.2} crashes, {:.2} node deaths), settled after {:.1} s",
        reports.len(),
        mean(&|r| r.events as u64),
        mean(&|r| r.counts.requests),
        mean(&|r| r.counts.faults()),
        mean(&|r| r.counts.crashes),
        mean(&|r| r.counts.node_deaths),
        mean(&|r| r.settled_after.as_secs()),
    );
    let mut broken: Vec<String> = outcomes
        .iter()
        .filter_map(|(seed, outcome)| Some(format!("seed {seed}: {}", outcome.as_ref().err()?)))
        .collect();
    broken.sort();
    assert!(broken.is_empty(), "{} broken promises:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for (seed, backend) in (0..8).map(|seed| (seed, Backend::Embedded)).chain([(0, Backend::Etcd), (1, Backend::Etcd)])
    {
        let (one, other) = (run(seed, backend), run(seed, backend));
        assert_eq!(one.map_err(|v| v.to_string()), other.map_err(|v| v.to_string()), "seed {seed}, {backend:?}");
    }
}

/// A Deployment of one replica adopts the ReplicaSet of three that another has left behind.
#[test]
fn seed_17_an_adopted_set_may_be_too_large() {
    run(17, Backend::Embedded).unwrap();
}

/// A pod that the store knows to be leaving, and no watch does yet, cannot be bound, however often it is tried.
#[test]
fn seed_41_a_binding_that_fails_is_not_tried_again_at_once() {
    run(41, Backend::Embedded).unwrap();
}

/// The Job counts a pod that is being deleted as failed before it hears that it succeeded.
#[test]
fn seed_165_a_deleted_pod_may_succeed_after_it_was_given_up() {
    run(165, Backend::Embedded).unwrap();
}
