use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::engine::lease::{Terms, lead};
use crate::testing::{Fault, MemoryApi};

type Log = Arc<Mutex<Vec<(u64, String)>>>;

/// A candidate that logs when it starts and stops leading.
fn candidate(
    api: &MemoryApi,
    name: &'static str,
    start: Instant,
    log: &Log,
) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let (client, shutdown, log) = (Client::new(api.clone(), "test/1"), CancellationToken::new(), log.clone());
    let terms = Terms::new("kube-controller-manager", name);
    let stop = shutdown.clone();
    let task = tokio::spawn(lead(client, terms, stop, move |stop| {
        let log = log.clone();
        async move {
            let note = |what: &str| log.lock().unwrap().push((start.elapsed().as_secs(), format!("{name} {what}")));
            note("starts");
            stop.cancelled().await;
            note("stops");
        }
    }));
    (shutdown, task)
}

#[tokio::test(start_paused = true)]
async fn one_leads_at_a_time_and_a_released_lease_is_taken_at_once() {
    let (api, log, start) = (MemoryApi::default(), Log::default(), Instant::now());
    let (stop_a, a) = candidate(&api, "a", start, &log);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (stop_b, b) = candidate(&api, "b", start, &log);
    tokio::time::sleep(Duration::from_secs(100)).await;
    stop_a.cancel();
    a.await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    stop_b.cancel();
    b.await.unwrap();
    let log = log.lock().unwrap();
    let words: Vec<&str> = log.iter().map(|(_, w)| w.as_str()).collect();
    assert_eq!(words, ["a starts", "a stops", "b starts", "b stops"]);
    assert!(log[2].0 - log[1].0 <= 5, "{log:?}");
    let lease = &api.objects("/apis/coordination.k8s.io/v1/leases")[0]["spec"];
    assert_eq!((&lease["holderIdentity"], &lease["leaseTransitions"]), (&"".into(), &1.into()));
}

#[tokio::test(start_paused = true)]
async fn a_leader_cut_off_stops_in_time_and_stands_again() {
    let (api, log, start) = (MemoryApi::default(), Log::default(), Instant::now());
    let (stop_a, a) = candidate(&api, "a", start, &log);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // `a` and only `a` renews by PUT without a GET before it.
    for _ in 0..10 {
        api.fail_next(Method::PUT, "leases", Fault::LostRequest);
    }
    tokio::time::sleep(Duration::from_secs(100)).await;
    stop_a.cancel();
    a.await.unwrap();
    let log = log.lock().unwrap();
    let words: Vec<&str> = log.iter().map(|(_, w)| w.as_str()).collect();
    assert_eq!(words, ["a starts", "a stops", "a starts", "a stops"]);
    assert!((10..=14).contains(&log[1].0), "nobody else may lead before: {log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_taken_stands_again() {
    let (api, log, start) = (MemoryApi::default(), Log::default(), Instant::now());
    let (stop_a, a) = candidate(&api, "a", start, &log);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let leases = Client::new(api.clone(), "thief/1").api::<orlop_api::typed::kinds::Lease>("kube-system");
    let theft = serde_json::json!({"spec": {"holderIdentity": "thief"}});
    leases.patch("kube-controller-manager", &crate::params::Patch::Merge(theft)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    stop_a.cancel();
    a.await.unwrap();
    let log = log.lock().unwrap();
    let words: Vec<&str> = log.iter().map(|(_, w)| w.as_str()).collect();
    assert_eq!(words, ["a starts", "a stops", "a starts", "a stops"]);
    assert!(log[1].0 <= 5 && log[2].0 >= log[1].0 + 15, "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_under_the_same_identity_leads_at_once() {
    let (api, log, start) = (MemoryApi::default(), Log::default(), Instant::now());
    let (_stop, killed) = candidate(&api, "a", start, &log);
    tokio::time::sleep(Duration::from_secs(3)).await;
    killed.abort();
    let (stop, restarted) = candidate(&api, "a", start, &log);
    tokio::time::sleep(Duration::from_millis(10)).await;
    stop.cancel();
    restarted.await.unwrap();
    let words: Vec<(u64, String)> = log.lock().unwrap().clone();
    assert_eq!(words[1], (3, "a starts".to_owned()), "{words:?}");
}
