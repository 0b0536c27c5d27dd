//! Pods a second, of each of scheduler_perf's workloads.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Method;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::events::{Event, Events};
use super::figures::{Figures, Unit};
use super::fleet::{Fleet, Life, node_name};
use super::scale::Scale;
use super::side::{BOTH, Contenders, Parts, Side, Who};
use super::workload::{self, Churn, Pods, Workload};
use super::world;
use crate::bench::connection::{Call, Connection};
use crate::bench::flood::flood;

const CLIENTS: usize = 32;
const RUNS: usize = 3;
/// A run that takes longer has no figure: ten pods a second would be faster.
const PATIENCE: Duration = Duration::from_secs(120);
/// Standing pods, and those that are measured; the terms of their affinity name both.
const STANDING: &str = "/api/v1/namespaces/sched-0/pods";
const MEASURED: &str = "/api/v1/namespaces/sched-1/pods";
/// What comes and goes meanwhile.
const CHURN: &str = "sched-churn";

pub async fn measure(contenders: &Contenders, scale: Scale, figures: &mut Figures) -> Result<()> {
    for workload in workload::all(scale)? {
        let figure = format!("{} ({} pods each time)", workload.name, workload.measured.count);
        let mut arenas = Vec::new();
        for who in BOTH {
            match Arena::prepare(contenders, who, &workload).await {
                Ok(arena) => arenas.push(arena),
                Err(error) => figures.missing(who, &figure, Unit::PodsPerSecond, &format!("{error:#}"))?,
            }
        }
        for run in 0..scale.rounds(RUNS) {
            for arena in &mut arenas {
                let Some(who) = arena.still_runs() else { continue };
                match arena.run(&workload, run).await {
                    Ok(rate) => figures.add(who, &figure, Unit::PodsPerSecond, rate)?,
                    Err(error) => {
                        arena.has_failed = true;
                        figures.missing(who, &figure, Unit::PodsPerSecond, &format!("{error:#}"))?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// A cluster in which one workload is measured.
struct Arena {
    side: Side,
    has_failed: bool,
    _fleet: Fleet,
}

impl Arena {
    async fn prepare(contenders: &Contenders, who: Who, workload: &Workload) -> Result<Self> {
        let side = contenders.start(who, Parts::Scheduling).await?;
        let mut client = side.client().await?;
        for namespace in ["sched-0", "sched-1", CHURN] {
            world::make_namespace(&mut client, namespace).await?;
        }
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 10,
        });
        client.fetch(Call::post("/apis/scheduling.k8s.io/v1/priorityclasses", class.to_string().into())).await?;
        let fleet = Fleet::start(&side, &workload.nodes, Life::Still).await?;
        if let Some(pods) = &workload.waiting {
            create(&side, STANDING, "waiting", pods, None).await?;
        }
        if let Some(pods) = &workload.standing {
            let nodes = workload.nodes.clone();
            let place = move |n: usize| match nodes.count {
                0 => nodes.large.clone().unwrap_or_default(),
                count => node_name(n % count),
            };
            create(&side, STANDING, "standing", pods, Some(Box::new(place))).await?;
        }
        Ok(Self { side, has_failed: false, _fleet: fleet })
    }

    fn still_runs(&self) -> Option<Who> {
        (!self.has_failed).then_some(self.side.who)
    }

    /// Pods a second, from the first creation to the last binding.
    async fn run(&self, workload: &Workload, run: usize) -> Result<f64> {
        let count = workload.measured.count;
        let side = &self.side;
        let events = Events::open(&side.config, MEASURED, "&fieldSelector=spec.nodeName!%3D").await?;
        let clients = side.clients(CLIENTS).await?;
        let (churner, deleter) = (side.client().await?, side.client().await?);
        let prefix = format!("m{run}");
        let began = Instant::now();
        let scheduled = async {
            tokio::try_join!(create_with(clients, MEASURED, &prefix, &workload.measured, None), bound(events, count))
        };
        let rate = async {
            let scheduled = tokio::time::timeout(PATIENCE, scheduled).await;
            scheduled.with_context(|| format!("{count} pods were not bound within {PATIENCE:?}"))??;
            anyhow::Ok(count as f64 / began.elapsed().as_secs_f64())
        };
        tokio::select! {
            rate = rate => rate,
            failed = churn(churner, workload.churn.as_ref(), run) => Err(failed.context("churning")),
            failed = delete(deleter, workload, run) => Err(failed.context("deleting")),
        }
    }
}

/// The node of a pod by its number.
type Place = Box<dyn Fn(usize) -> String + Send + Sync>;

async fn create(side: &Side, path: &'static str, prefix: &str, pods: &Pods, place: Option<Place>) -> Result<()> {
    create_with(side.clients(CLIENTS).await?, path, prefix, pods, place).await
}

async fn create_with(
    clients: Vec<Connection>,
    path: &'static str,
    prefix: &str,
    pods: &Pods,
    place: Option<Place>,
) -> Result<()> {
    let (count, pods, prefix) = (pods.count, pods.clone(), prefix.to_owned());
    let call = move |n: usize| {
        let mut object = pods.object(&format!("{prefix}-{n}"));
        if let Some(place) = &place {
            object["spec"]["nodeName"] = place(n).into();
        }
        Call::post(path, object.to_string().into())
    };
    flood(clients, count, call).await.map(drop)
}

/// Returns when so many pods got a node: each comes into the watch once it has one.
async fn bound(mut events: Events, count: usize) -> Result<()> {
    let mut bound = 0;
    while bound < count {
        let Event { kind, .. } = events.next::<IgnoredAny>().await?;
        bound += usize::from(kind == "ADDED");
    }
    Ok(())
}

/// Objects come, and go at the next turn where they are replaced; ends only by failing.
async fn churn(mut client: Connection, churn: Option<&Churn>, run: usize) -> anyhow::Error {
    let Some(churn) = churn else { return std::future::pending().await };
    let mut turn = tokio::time::interval(Duration::from_millis(churn.every_milliseconds));
    for n in 0.. {
        turn.tick().await;
        for (at, object) in churn.objects.iter().enumerate() {
            // What is replaced has one name for two turns: it comes, then it goes.
            let (number, goes) = if churn.replaced { (n / 2, n % 2 == 1) } else { (n, false) };
            let name = format!("churn-{run}-{number}-{at}");
            let call = if goes { gone(object, &name) } else { come(object, &name) };
            if let Err(error) = client.fetch(call).await {
                return error;
            }
        }
    }
    unreachable!("there is always another turn")
}

fn path_of(object: &Value) -> String {
    match object["kind"].as_str().unwrap_or_default() {
        "Node" => "/api/v1/nodes".to_owned(),
        kind => format!("/api/v1/namespaces/{CHURN}/{}s", kind.to_lowercase()),
    }
}

fn come(object: &Value, name: &str) -> Call {
    let mut object = object.clone();
    object["metadata"]["name"] = name.into();
    Call::post(path_of(&object), object.to_string().into())
}

fn gone(object: &Value, name: &str) -> Call {
    Call::with_body(Method::DELETE, format!("{}/{name}", path_of(object)), Bytes::new())
}

/// Standing pods go, so many a second; ends only by failing.
async fn delete(mut client: Connection, workload: &Workload, run: usize) -> anyhow::Error {
    let (Some(rate), Some(standing)) = (workload.deleted_per_second, &workload.standing) else {
        return std::future::pending().await;
    };
    let mut turn = tokio::time::interval(Duration::from_secs(1) / rate);
    for n in (0..standing.count).skip(run).step_by(RUNS) {
        turn.tick().await;
        let call = Call::with_body(Method::DELETE, format!("{STANDING}/standing-{n}"), Bytes::new());
        if let Err(error) = client.fetch(call).await {
            return error;
        }
    }
    std::future::pending().await
}
