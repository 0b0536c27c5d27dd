//! Pods that come and go, as a client sees it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use orlop_client::config::Config;
use serde::Deserialize;
use serde_json::json;

use crate::bench::connection::{Call, Connection, Protocol};
use crate::bench::flood::flood;
use crate::bench::rival::events::{Event, Events, Meta};

const PATH: &str = "/api/v1/namespaces/default/pods";
/// Longer than anything here takes on a machine that can be used at all.
const PATIENCE: Duration = Duration::from_secs(300);

/// Milliseconds from the sending of a pod.
#[derive(Default)]
pub struct Start {
    pub bound: f64,
    pub running: f64,
    pub ready: f64,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl Pod {
    fn is_ready(&self) -> bool {
        self.status.conditions.iter().any(|c| c.kind == "Ready" && c.status == "True")
    }
}

/// Creates a pod; until a watch shows it ready.
pub async fn start(config: Config, name: String, image: String) -> Result<Start> {
    let mut events = Events::open(&config, PATH, &only(&name)).await?;
    let mut client = Connection::open(&config).await?;
    let began = Instant::now();
    let seen = async {
        let mut start = Start::default();
        loop {
            let pod = events.next::<Pod>().await?.object;
            let now = began.elapsed().as_secs_f64() * 1e3;
            if start.bound == 0.0 && !pod.spec.node_name.is_empty() {
                start.bound = now;
            }
            if start.running == 0.0 && pod.status.phase == "Running" {
                start.running = now;
            }
            if pod.is_ready() {
                return Ok(Start { ready: now, ..start });
            }
            if pod.status.phase == "Failed" {
                bail!("the pod {name} failed");
            }
        }
    };
    let created = client.fetch(create(&name, &image));
    in_time(async { tokio::try_join!(created, seen).map(|(_, start)| start) }).await
}

/// Creates a pod once that is allowed: its namespace must have a service account. Returns when it is ready.
pub async fn first(config: Config, image: String) -> Result<()> {
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    let mut client = Connection::open(&config).await?;
    in_time(async {
        while !client.get(account).await?.status.is_success() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    })
    .await?;
    start(config, "first".to_owned(), image).await.map(drop)
}

/// Milliseconds from the asking for a pod's end, with its own grace or so many seconds of it, until it is gone.
pub async fn end(config: Config, name: String, grace: Option<u32>) -> Result<f64> {
    let mut events = Events::open(&config, PATH, &only(&name)).await?;
    let mut client = Connection::open(&config).await?;
    let query = grace.map(|seconds| format!("?gracePeriodSeconds={seconds}")).unwrap_or_default();
    let began = Instant::now();
    let deleted = client.fetch(Call::with_body(Method::DELETE, format!("{PATH}/{name}{query}"), Bytes::new()));
    in_time(async { tokio::try_join!(deleted, gone(&mut events, 1)).map(drop) }).await?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// So many pods, each asked for by a client of its own at the same time; seconds until all are ready.
pub async fn burst(config: Config, count: usize, round: usize, image: String) -> Result<f64> {
    let mut events = Events::open(&config, PATH, "").await?;
    let clients = Connection::several(&config, Protocol::Http1, count).await?;
    let began = Instant::now();
    let created = flood(clients, count, move |n| create(&format!("burst-{round}-{n}"), &image));
    let all = async {
        let mut ready = BTreeSet::new();
        while ready.len() < count {
            let Event { object, .. } = events.next::<Pod>().await?;
            if object.is_ready() {
                ready.insert(object.metadata.name);
            }
        }
        Ok(())
    };
    in_time(async { tokio::try_join!(created, all).map(drop) }).await?;
    Ok(began.elapsed().as_secs_f64())
}

/// Seconds until all pods are gone, of which there are so many, from one request on.
pub async fn end_all(config: Config, count: usize) -> Result<f64> {
    let mut events = Events::open(&config, PATH, "").await?;
    let mut client = Connection::open(&config).await?;
    let began = Instant::now();
    let deleted = client.fetch(Call::with_body(Method::DELETE, PATH, Bytes::new()));
    in_time(async { tokio::try_join!(deleted, gone(&mut events, count)).map(drop) }).await?;
    Ok(began.elapsed().as_secs_f64())
}

async fn gone(events: &mut Events, count: usize) -> Result<()> {
    let mut gone = 0;
    while gone < count {
        let Event { kind, .. } = events.next::<serde::de::IgnoredAny>().await?;
        gone += usize::from(kind == "DELETED");
    }
    Ok(())
}

async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work).await.context("the pods did not come so far in time")?
}

fn only(name: &str) -> String {
    format!("&fieldSelector=metadata.name%3D{name}")
}

/// One container that waits for its end, and all else as it is by default: a token of its service account, a network.
fn create(name: &str, image: &str) -> Call {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "rival"}},
        "spec": {"containers": [{"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"}]},
    });
    Call::post(PATH, object.to_string().into())
}
