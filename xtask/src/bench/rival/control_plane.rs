//! The whole control plane: starting, idling, and ten thousand pods on simulated nodes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::events::{Event, Events, Meta};
use super::figures::{Figures, Unit};
use super::fleet::{Fleet, Life, Nodes};
use super::scale::Scale;
use super::side::{BOTH, Contenders, Parts, Side};
use crate::bench::connection::Call;
use crate::bench::flood::flood;
use crate::bench::load::config_map;

const STARTS: usize = 3;
const WINDOWS: usize = 3;
const WINDOW: Duration = Duration::from_secs(15);
const DEPLOYMENTS: usize = 100;
const PODS_EACH: usize = 100;
const NODES: usize = 500;
/// A minute or more of each side's.
const ROUNDS: usize = 1;
const CLIENTS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(900);
const PATH: &str = "/apis/apps/v1/namespaces/default/deployments";
const OBJECTS: usize = 1000;

pub async fn measure(contenders: &Contenders, scale: Scale, figures: &mut Figures) -> Result<()> {
    for _ in 0..scale.rounds(STARTS) {
        for who in BOTH {
            let side = contenders.start(who, Parts::Whole).await?;
            figures.add(who, "cold start: exec to /readyz", Unit::Seconds, side.ready_seconds)?;
            service_account(&side).await?;
            let figure = "cold start: exec to the default namespace's service account";
            figures.add(who, figure, Unit::Seconds, side.started.elapsed().as_secs_f64())?;
        }
    }
    idle(&contenders.both(Parts::Whole).await?, scale, figures).await?;
    for _ in 0..ROUNDS {
        for who in BOTH {
            let side = contenders.start(who, Parts::Whole).await?;
            service_account(&side).await?;
            ten_thousand_pods(&side, scale, figures).await?;
        }
    }
    let sides = contenders.both(Parts::Whole).await?;
    for round in 0..scale.rounds(3) {
        for side in &sides {
            namespace_ends(side, round, scale, figures).await?;
        }
    }
    Ok(())
}

/// Without pods, 10 s after the start.
async fn idle(sides: &[Side; 2], scale: Scale, figures: &mut Figures) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(10)).await;
    for _ in 0..scale.rounds(WINDOWS) {
        let (before, began) = (sides.each_ref().map(Side::cpu_seconds), Instant::now());
        tokio::time::sleep(WINDOW).await;
        for (side, before) in sides.iter().zip(before) {
            let busy = 100.0 * (side.cpu_seconds()? - before?) / began.elapsed().as_secs_f64();
            figures.add(side.who, "idle: CPU", Unit::PercentOfCore, busy)?;
            figures.add(side.who, "idle: RSS", Unit::Megabytes, side.rss_mb()?)?;
        }
    }
    Ok(())
}

/// Controllers work once it is there.
async fn service_account(side: &Side) -> Result<()> {
    let path = "/api/v1/namespaces/default/serviceaccounts/default";
    let mut client = side.client().await?;
    let asked = Instant::now();
    while !client.get(path).await?.status.is_success() {
        anyhow::ensure!(asked.elapsed() < PATIENCE, "the default namespace got no service account");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn ten_thousand_pods(side: &Side, scale: Scale, figures: &mut Figures) -> Result<()> {
    let (deployments, nodes) = (scale.of(DEPLOYMENTS), Nodes { count: scale.of(NODES), ..Nodes::default() });
    let pods = deployments * PODS_EACH;
    let name = format!("{deployments} Deployments of {PODS_EACH} pods on {} simulated nodes", nodes.count);
    let mut fleet = Fleet::start(side, &nodes, Life::Lively).await?;
    let mut add = |figure, unit, sample| figures.add(side.who, &format!("{name}: {figure}"), unit, sample);
    let (began, cpu) = (Instant::now(), side.cpu_seconds()?);
    flood(side.clients(CLIENTS).await?, deployments, create).await?;
    fleet.until(|tally| tally.bound >= pods).await?;
    add("all bound", Unit::Seconds, began.elapsed().as_secs_f64())?;
    fleet.until(|tally| tally.running >= pods).await?;
    add("all Running", Unit::Seconds, began.elapsed().as_secs_f64())?;
    complete(side, deployments, 1).await?;
    add("all available, as their status tells", Unit::Seconds, began.elapsed().as_secs_f64())?;
    add("CPU until then", Unit::CpuSeconds, side.cpu_seconds()? - cpu)?;
    let (began, cpu) = (Instant::now(), side.cpu_seconds()?);
    // Servers close connections that idled for as long as all this took.
    flood(side.clients(CLIENTS).await?, deployments, roll).await?;
    complete(side, deployments, 2).await?;
    add("rolling update of all", Unit::Seconds, began.elapsed().as_secs_f64())?;
    add("CPU for the rolling update", Unit::CpuSeconds, side.cpu_seconds()? - cpu)?;
    fleet.until(|tally| tally.running == pods).await?;
    add("RSS after it", Unit::Megabytes, side.rss_mb()?)
}

fn create(n: usize) -> Call {
    let labels = json!({"app": format!("app-{n}")});
    let container = json!({
        "name": "main", "image": "registry.k8s.io/pause:3.10.2",
        "resources": {"requests": {"cpu": "50m", "memory": "50Mi"}},
    });
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": format!("app-{n}")},
        "spec": {
            "replicas": PODS_EACH, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    });
    Call::post(PATH, object.to_string().into())
}

fn roll(n: usize) -> Call {
    let patch = br#"{"spec":{"template":{"metadata":{"annotations":{"revision":"2"}}}}}"#;
    let call = Call::with_body(Method::PATCH, format!("{PATH}/app-{n}"), Bytes::from_static(patch));
    Call { content_type: "application/merge-patch+json", ..call }
}

#[derive(Deserialize)]
struct Deployment {
    metadata: Meta,
    #[serde(default)]
    status: DeploymentStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DeploymentStatus {
    observed_generation: i64,
    replicas: usize,
    updated_replicas: usize,
    available_replicas: usize,
}

impl Deployment {
    /// As `kubectl rollout status` sees it.
    fn is_complete(&self, generation: i64) -> bool {
        let status = &self.status;
        let all = [status.replicas, status.updated_replicas, status.available_replicas] == [PODS_EACH; 3];
        self.metadata.generation >= generation && status.observed_generation >= self.metadata.generation && all
    }
}

#[derive(Deserialize)]
struct Deployments {
    items: Vec<Deployment>,
}

/// Returns when so many Deployments of this generation or a later one are.
async fn complete(side: &Side, count: usize, generation: i64) -> Result<()> {
    // Begun before the list, so that nothing is missed between them.
    let mut events = Events::open(&side.config, PATH, "").await?;
    let listed = side.client().await?.fetch(Call::get(PATH)).await?;
    let listed: Deployments = serde_json::from_slice(&listed)?;
    let all = async {
        let mut done = BTreeSet::new();
        let complete = listed.items.into_iter().filter(|d| d.is_complete(generation));
        done.extend(complete.map(|d| d.metadata.name));
        while done.len() < count {
            let Event { object, .. } = events.next::<Deployment>().await?;
            if object.is_complete(generation) {
                done.insert(object.metadata.name);
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, all).await.context("the Deployments did not become complete in time")?
}

async fn namespace_ends(side: &Side, round: usize, scale: Scale, figures: &mut Figures) -> Result<()> {
    let name = format!("doomed-{round}");
    let mut client = side.client().await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    client.fetch(Call::post("/api/v1/namespaces", namespace.to_string().into())).await?;
    let at = format!("/api/v1/namespaces/{name}");
    let fill = {
        let at = at.clone();
        move |n: usize| match n % 2 {
            0 => Call::post(format!("{at}/configmaps"), config_map(&format!("c-{n}"))),
            _ => Call::post(format!("{at}/secrets"), secret(n)),
        }
    };
    let count = scale.of(OBJECTS);
    flood(side.clients(CLIENTS).await?, count, fill).await?;
    let query = format!("&fieldSelector=metadata.name%3D{name}");
    let mut events = Events::open(&side.config, "/api/v1/namespaces", &query).await?;
    let began = Instant::now();
    client.fetch(Call::with_body(Method::DELETE, at, Bytes::new())).await?;
    while events.next::<serde_json::Value>().await?.kind != "DELETED" {}
    let figure = format!("deletion of a namespace with {count} objects");
    figures.add(side.who, &figure, Unit::Seconds, began.elapsed().as_secs_f64())
}

fn secret(n: usize) -> Bytes {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("s-{n}")},
        "stringData": {"password": "x".repeat(100)},
    });
    object.to_string().into()
}
