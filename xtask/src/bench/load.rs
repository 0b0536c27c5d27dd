//! Requests as fast as the API takes them.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use serde_json::{Value, json};

use super::cluster::{Cluster, Role};
use super::connection::{Call, Connection, Protocol};
use super::flood::flood;
use super::pods::settle;
use super::process::cpu_seconds;
use super::report::{Goal, Row};

const CLIENTS: usize = 64;
const CREATE_RUNS: usize = 5;
const CREATES_PER_RUN: usize = 10_000;
const PODS: usize = 10_000;
const LISTS: usize = 21;
/// The goals are HTTPS's; each client has a connection of its own there, and over HTTP/2 all share one.
const OVER: [(Protocol, bool, &str); 2] =
    [(Protocol::Http1, true, "HTTPS"), (Protocol::Http2, false, "one connection of HTTP/2")];

pub async fn creates(orlop: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (protocol, goal, over) in OVER {
        let cluster = Cluster::ready(orlop, Role::Plane).await?;
        let mut clients = Connection::several(&cluster.config()?, protocol, CLIENTS).await?;
        let (mut rates, mut cpu) = (Vec::new(), Vec::new());
        for run in 0..CREATE_RUNS {
            let (before, began) = (cpu_seconds(cluster.pid())?, Instant::now());
            let path = "/api/v1/namespaces/default/configmaps";
            clients = create_all(clients, path, CREATES_PER_RUN, move |n| config_map(&format!("c{run}-{n}"))).await?;
            rates.push(CREATES_PER_RUN as f64 / began.elapsed().as_secs_f64());
            cpu.push((cpu_seconds(cluster.pid())? - before) * 1e6 / CREATES_PER_RUN as f64);
        }
        let figure = format!("durable creates, 64 clients over {over}, ConfigMap of 1 KB");
        let goal = if goal { Goal::AtLeast(5000.0) } else { Goal::None };
        rows.push(Row::new(figure.clone(), goal, "/s", rates));
        rows.push(Row::new(format!("{figure}, the server's CPU for each"), Goal::None, "µs", cpu));
    }
    Ok(rows)
}

pub async fn list(orlop: &Path) -> Result<Vec<Row>> {
    let cluster = Cluster::ready(orlop, Role::Plane).await?;
    // Pods need the namespace's service account, which a controller makes.
    settle().await;
    let config = cluster.config()?;
    let clients = Connection::several(&config, Protocol::Http1, CLIENTS).await?;
    create_all(clients, "/api/v1/namespaces/default/pods", PODS, |n| pod(&format!("pod-{n}"))).await?;
    settle().await;
    let mut rows = Vec::new();
    for (protocol, goal, over) in OVER {
        let mut client = Connection::several(&config, protocol, 1).await?.pop().context("no client")?;
        let (mut milliseconds, mut size) = (Vec::new(), 0);
        for _ in 0..LISTS {
            let began = Instant::now();
            let answer = client.get("/api/v1/pods").await?;
            milliseconds.push(began.elapsed().as_secs_f64() * 1e3);
            if !answer.status.is_success() {
                bail!("listing pods: {}", answer.status);
            }
            size = answer.bytes;
        }
        let figure = format!("list of 10,000 pods over {over} ({} MB), p50", size / 1_000_000);
        rows.push(Row::new(figure, if goal { Goal::AtMost(50.0) } else { Goal::None }, "ms", milliseconds));
    }
    Ok(rows)
}

/// `count` creations, shared among the clients.
async fn create_all(
    clients: Vec<Connection>,
    path: &'static str,
    count: usize,
    body: impl Fn(usize) -> Bytes + Send + Sync + 'static,
) -> Result<Vec<Connection>> {
    Ok(flood(clients, count, move |n| Call::post(path, body(n))).await?.0)
}

pub fn config_map(name: &str) -> Bytes {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"content": "x".repeat(1024)},
    });
    object.to_string().into()
}

/// A pod as a Deployment would make it, for a scheduler that is not there.
pub fn pod(name: &str) -> Bytes {
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": 8080}, "periodSeconds": 10});
    let variable = |name: &str, value: &str| -> Value { json!({"name": name, "value": value}) };
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web", "pod-template-hash": "5d59d67564", "tier": "front"}},
        "spec": {"schedulerName": "nobody", "containers": [{
            "name": "web", "image": "registry.example.com/shop/web:1.4.2", "args": ["--listen", ":8080"],
            "env": [variable("LOG_LEVEL", "info"), variable("DATABASE", "postgres.shop.svc")],
            "ports": [{"name": "http", "containerPort": 8080}],
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
            "livenessProbe": probe("/alive"), "readinessProbe": probe("/ready"),
        }]},
    });
    object.to_string().into()
}
