//! One write, a thousand watchers: how late the last ones hear of it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use http::Method;
use http_body_util::BodyExt;
use orlop_client::Client;
use orlop_client::transport::Body;
use tokio::sync::Notify;

use super::cluster::{Cluster, PATIENCE, Role};
use super::connection::Connection;
use super::load::config_map;
use super::pods::settle;
use super::report::{Goal, Row, quantile};

const WATCHERS: usize = 1000;
const RUNS: usize = 5;
const WRITES_PER_RUN: usize = 20;
const PATH: &str = "/api/v1/namespaces/default/configmaps";

/// When each watcher heard of the write under way.
#[derive(Default)]
struct Heard {
    at: Mutex<Vec<Instant>>,
    all: Notify,
}

/// The commit is not seen from outside. It lies between sending the write and the first watcher's hearing of it:
/// counted from the former, the figure is an upper bound, and the latter is told along.
pub async fn measure(orlop: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (connections, goal) in [(WATCHERS, Goal::AtMost(20.0)), (10, Goal::None)] {
        let cluster = Cluster::ready(orlop, Role::Plane).await?;
        settle().await;
        let heard = Arc::new(Heard::default());
        watch_all(&cluster, connections, &heard).await?;
        settle().await;
        let mut writer = Connection::open(&cluster.config()?).await?;
        let (mut p99, mut first) = (Vec::new(), Vec::new());
        for run in 0..RUNS {
            let (mut late, mut firsts) = (Vec::new(), Vec::new());
            for write in 0..WRITES_PER_RUN {
                let delays = one_write(&mut writer, &format!("w{run}-{write}"), &heard).await?;
                firsts.extend(delays.first());
                late.extend(delays);
            }
            late.sort_by(f64::total_cmp);
            firsts.sort_by(f64::total_cmp);
            p99.push(quantile(&late, 0.99));
            first.push(quantile(&firsts, 0.5));
        }
        let figure = format!("watch: write sent to 1,000 watchers on {connections} connections");
        rows.push(Row::new(format!("{figure}, p99"), goal, "ms", p99));
        rows.push(Row::new(format!("{figure}, the first of them"), Goal::None, "ms", first));
    }
    Ok(rows)
}

async fn one_write(writer: &mut Connection, name: &str, heard: &Heard) -> Result<Vec<f64>> {
    heard.at.lock().expect("no holder panics").clear();
    let sent = Instant::now();
    let answer = writer.post(PATH, config_map(name)).await?;
    if !answer.status.is_success() {
        bail!("creating a ConfigMap: {}", answer.status);
    }
    tokio::time::timeout(PATIENCE, heard.all.notified()).await.context("some watcher never heard of a write")?;
    let at = heard.at.lock().expect("no holder panics");
    Ok(at.iter().map(|at| at.duration_since(sent).as_secs_f64() * 1e3).collect())
}

async fn watch_all(cluster: &Cluster, connections: usize, heard: &Arc<Heard>) -> Result<()> {
    let clients: Vec<Client> = (0..connections).map(|_| cluster.client()).collect::<Result<_>>()?;
    let list: serde_json::Value = serde_json::from_slice(&clients[0].get_raw(PATH).await?)?;
    let revision = list["metadata"]["resourceVersion"].as_str().context("a list without a revision")?;
    let path = format!("{PATH}?watch=true&resourceVersion={revision}");
    // In portions: a thousand handshakes at once would time out on a small machine.
    let all: Vec<usize> = (0..WATCHERS).collect();
    for portion in all.chunks(50) {
        let watches = portion.iter().map(|n| clients[n % connections].stream(Method::GET, &path, "application/json"));
        for response in try_join_all(watches).await.context("starting watches")? {
            tokio::spawn(listen(response.into_body(), heard.clone()));
        }
    }
    // Nothing may be on its way when the first write is timed.
    tokio::time::sleep(Duration::from_millis(500)).await;
    heard.at.lock().expect("no holder panics").clear();
    Ok(())
}

/// Every line is an event; what it says is not looked at.
async fn listen(mut body: Body, heard: Arc<Heard>) {
    while let Some(Ok(frame)) = body.frame().await {
        let now = Instant::now();
        let lines = frame.data_ref().map_or(0, |data| data.iter().filter(|b| **b == b'\n').count());
        let mut at = heard.at.lock().expect("no holder panics");
        at.extend(std::iter::repeat_n(now, lines));
        if lines > 0 && at.len() == WATCHERS {
            heard.all.notify_one();
        }
    }
}
