//! Pods on a node: one, a hundred, and what each costs in memory.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{Node, Pod};
use orlop_client::object::Dynamic;
use orlop_client::{Client, DeleteOptions, ListOptions, Resource, WatchEvent, WatchOptions};
use serde_json::{Value, json};

use super::cluster::{Cluster, IMAGE, PATIENCE, Role};
use super::process;
use super::report::{Goal, Row};

const APPLY_RUNS: usize = 11;
const HUNDRED_RUNS: usize = 3;
const HUNDRED: usize = 100;

/// How far an object has come, as its status tells.
#[derive(Clone, Copy)]
pub enum Phase {
    Running,
    Ready,
}

impl Phase {
    fn holds(self, object: &Value) -> bool {
        match self {
            Self::Running => object["status"]["phase"] == "Running",
            Self::Ready => {
                let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
                conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
            }
        }
    }
}

/// `kubectl apply` by the same binary, its start included, to Ready as a watch tells it.
pub async fn apply(orlop: &Path) -> Result<Vec<Row>> {
    let cluster = Cluster::ready(orlop, Role::Node).await?;
    let client = cluster.client()?;
    reached::<Node>(&client, 1, Phase::Ready).await?;
    settle().await;
    let file = cluster.dir().join("pod.json");
    std::fs::write(&file, manifest("applied").to_string())?;
    let mut seconds = Vec::new();
    for _ in 0..APPLY_RUNS {
        let started = Instant::now();
        let mut kubectl = Command::new(orlop);
        kubectl.args(["kubectl", "apply", "-f"]).arg(&file).arg("--kubeconfig").arg(cluster.kubeconfig());
        let mut child = kubectl.stdout(Stdio::null()).spawn().context("starting orlop kubectl apply")?;
        reached::<Pod>(&client, 1, Phase::Ready).await?;
        seconds.push(started.elapsed().as_secs_f64());
        if !child.wait()?.success() {
            bail!("orlop kubectl apply failed");
        }
        remove_all(&client).await?;
    }
    Ok(vec![Row::new("`kubectl apply` to Ready, one pod", Goal::AtMost(0.3), "s", seconds)])
}

pub async fn hundred(orlop: &Path) -> Result<Vec<Row>> {
    let cluster = Cluster::ready(orlop, Role::Node).await?;
    let client = cluster.client()?;
    reached::<Node>(&client, 1, Phase::Ready).await?;
    settle().await;
    let (mut seconds, mut shims) = (Vec::new(), Vec::new());
    for run in 0..HUNDRED_RUNS {
        let started = Instant::now();
        let creates = async {
            let names: Vec<String> = (0..HUNDRED).map(|n| format!("p{run}-{n}")).collect();
            try_join_all(names.iter().map(|name| create(&client, name))).await
        };
        tokio::try_join!(creates, reached::<Pod>(&client, HUNDRED, Phase::Ready))?;
        seconds.push(started.elapsed().as_secs_f64());
        let own = process::shims(cluster.pid());
        if own.len() != HUNDRED {
            bail!("{} shims hold {HUNDRED} pods", own.len());
        }
        let total: f64 = own.iter().map(|pid| process::pss_mb(*pid)).sum::<Result<f64>>()?;
        shims.push(total / own.len() as f64);
        remove_all(&client).await?;
    }
    Ok(vec![
        Row::new("100 pods created at once, all Ready", Goal::AtMost(10.0), "s", seconds),
        Row::new("memory per pod: shim (PSS), among 100", Goal::AtMost(1.5), "MB", shims),
    ])
}

/// Returns when `count` objects of this kind have come so far.
pub async fn reached<K: Typed>(client: &Client, count: usize, phase: Phase) -> Result<()> {
    let api = client.dynamic(&Resource::of::<K>(), "");
    let there = async {
        let mut watch = api.watch(&WatchOptions::default()).await?;
        let mut names = BTreeSet::new();
        while let Some(event) = watch.next().await {
            let (WatchEvent::Added(Dynamic(object)) | WatchEvent::Modified(Dynamic(object))) = event? else { continue };
            if phase.holds(&object) {
                names.insert(orlop_api::meta::name(&object).to_owned());
            }
            if names.len() >= count {
                return Ok(());
            }
        }
        bail!("the watch of {}s ended early", K::KIND)
    };
    tokio::time::timeout(PATIENCE, there).await.with_context(|| format!("waiting for {count} {}(s)", K::KIND))?
}

/// Refused until the namespace's service account is there: of a cold start that wait is a part.
pub async fn create(client: &Client, name: &str) -> Result<()> {
    let api = client.dynamic(&Resource::of::<Pod>(), "default");
    let object = Dynamic(manifest(name));
    let asked = Instant::now();
    loop {
        match api.create(&object).await {
            Ok(_) => return Ok(()),
            Err(error) if asked.elapsed() > PATIENCE => return Err(error).context("creating a pod"),
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

/// Deletes all pods; returns when none is left.
async fn remove_all(client: &Client) -> Result<()> {
    let api = client.dynamic(&Resource::of::<Pod>(), "default");
    api.delete_collection(&DeleteOptions::default(), &ListOptions::default()).await?;
    let asked = Instant::now();
    while !api.list(&ListOptions::default()).await?.items.is_empty() {
        if asked.elapsed() > PATIENCE {
            bail!("deleted pods do not go away");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    settle().await;
    Ok(())
}

/// What a start or a deletion leaves to do is not part of the next figure.
pub async fn settle() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

fn manifest(name: &str) -> Value {
    let container = json!({"name": "main", "image": IMAGE, "command": ["/bin/busybox", "sleep", "1000000"]});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "bench"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    })
}
