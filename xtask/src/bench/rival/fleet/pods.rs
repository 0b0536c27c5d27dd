//! Pods of all nodes: one watch tells what is to be done, a few clients do it.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use http::{Method, StatusCode};
use orlop_base::clock::rfc3339;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::bench::connection::{Call, Connection};
use crate::bench::rival::events::{Event, Events, Meta};
use crate::bench::rival::side::Side;

const WORKERS: usize = 16;
/// What waits for one of them: all pods of the largest figure, deleted while they start. A full queue would stop the
/// watch, and a server ends a watch that is not read.
const WAITING: usize = 50_000;

/// Of pods that have a node and are not being deleted.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Tally {
    pub bound: usize,
    pub running: usize,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Meta,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Spec {
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: String,
}

/// How far a pod has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Running,
    Ending,
}

impl Stage {
    fn of(pod: &Pod) -> Self {
        match (&pod.metadata.deletion_timestamp, pod.status.phase.as_str()) {
            (Some(_), _) => Self::Ending,
            (None, "Running") => Self::Running,
            (None, _) => Self::Starting,
        }
    }
}

/// All nodes' kubelets, as far as the API sees them.
pub struct Kubelets {
    events: Events,
    clients: Vec<Connection>,
}

impl Kubelets {
    pub async fn open(side: &Side) -> Result<Self> {
        let events = Events::open(&side.config, "/api/v1/pods", "&fieldSelector=spec.nodeName!%3D").await?;
        Ok(Self { events, clients: side.clients(WORKERS).await? })
    }

    pub async fn run(self, tell: watch::Sender<Tally>) -> Result<()> {
        let (queues, work): (Vec<_>, Vec<_>) = self
            .clients
            .into_iter()
            .map(|client| {
                let (queue, jobs) = mpsc::channel(WAITING);
                (queue, work(client, jobs))
            })
            .unzip();
        tokio::try_join!(follow(self.events, &queues, &tell), try_join_all(work)).map(drop)
    }
}

async fn follow(mut events: Events, queues: &[mpsc::Sender<Call>], tell: &watch::Sender<Tally>) -> Result<()> {
    let mut known: HashMap<String, Known> = HashMap::new();
    let mut seen = 0;
    loop {
        let Event { kind, object: pod } = events.next::<Pod>().await?;
        if kind == "DELETED" {
            let stage = known.remove(&pod.metadata.uid).and_then(|known| known.stage);
            tell.send_modify(|tally| tally.move_on(stage, None));
            continue;
        }
        let pod_known = known.entry(pod.metadata.uid.clone()).or_insert_with(|| {
            seen += 1;
            Known { number: seen, stage: None }
        });
        let (number, before, stage) = (pod_known.number, pod_known.stage, Stage::of(&pod));
        if before == Some(stage) {
            continue;
        }
        pod_known.stage = Some(stage);
        tell.send_modify(|tally| tally.move_on(before, Some(stage)));
        let call = match stage {
            Stage::Starting => running(&pod, number),
            Stage::Running => continue,
            Stage::Ending => finished(&pod),
        };
        queues[number % queues.len()].send(call).await.context("a worker of the simulated nodes ended")?;
    }
}

/// One pod.
struct Known {
    number: usize,
    stage: Option<Stage>,
}

impl Tally {
    fn move_on(&mut self, from: Option<Stage>, to: Option<Stage>) {
        let is_bound = |stage| matches!(stage, Some(Stage::Starting | Stage::Running));
        let is_running = |stage| stage == Some(Stage::Running);
        self.bound = self.bound + usize::from(is_bound(to)) - usize::from(is_bound(from));
        self.running = self.running + usize::from(is_running(to)) - usize::from(is_running(from));
    }
}

/// One after the other; what is gone meanwhile needs nothing more.
async fn work(mut client: Connection, mut jobs: mpsc::Receiver<Call>) -> Result<()> {
    while let Some(call) = jobs.recv().await {
        let asked = format!("{} {}", call.method, call.path);
        let status = client.answer(call).await?.status;
        if !status.is_success() && !matches!(status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) {
            bail!("{asked}: {status}");
        }
    }
    Ok(())
}

fn running(pod: &Pod, number: usize) -> Call {
    let now = rfc3339();
    let ip = format!("10.{}.{}.{}", 128 + (number >> 16) % 64, (number >> 8) % 256, number % 256);
    let conditions: Vec<_> = ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"]
        .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now}))
        .into();
    let containers: Vec<_> = pod.spec.containers.iter().map(|container| json!({
        "name": container.name, "ready": true, "started": true, "restartCount": 0, "image": "simulated",
        "imageID": "simulated", "containerID": format!("simulated://{number}"), "state": {"running": {"startedAt": now}},
    })).collect();
    let patch = json!({"status": {
        "phase": "Running", "hostIP": "192.0.2.1", "podIP": ip, "podIPs": [{"ip": ip}], "startTime": now,
        "conditions": conditions, "containerStatuses": containers,
    }});
    let call = Call::with_body(Method::PATCH, format!("{}/status", path(pod)), patch.to_string().into());
    Call { content_type: "application/strategic-merge-patch+json", ..call }
}

fn finished(pod: &Pod) -> Call {
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": pod.metadata.uid},
    });
    Call::with_body(Method::DELETE, path(pod), options.to_string().into())
}

fn path(pod: &Pod) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", pod.metadata.namespace, pod.metadata.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_counted_until_it_is_being_deleted() {
        let mut tally = Tally::default();
        let mut before = None;
        for (stage, bound, running) in
            [(Some(Stage::Starting), 1, 0), (Some(Stage::Running), 1, 1), (Some(Stage::Ending), 0, 0), (None, 0, 0)]
        {
            tally.move_on(before, stage);
            assert_eq!(tally, Tally { bound, running });
            before = stage;
        }
    }
}
