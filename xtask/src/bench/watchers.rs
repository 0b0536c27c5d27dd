//! One write, a thousand watchers: how late the last ones hear of it, and what telling them costs the server.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use http::Method;
use http_body_util::BodyExt;
use orlop_client::Client;
use orlop_client::config::Config;
use orlop_client::transport::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio_rustls::client::TlsStream;

use super::cluster::{Cluster, PATIENCE, Role};
use super::connection::{Connection, Protocol, connect};
use super::load::config_map;
use super::pods::settle;
use super::process::cpu_seconds;
use super::report::{Goal, Row, quantile};

const WATCHERS: usize = 1000;
const RUNS: usize = 5;
const WRITES_PER_RUN: usize = 20;
pub const PATH: &str = "/api/v1/namespaces/default/configmaps";
/// An event and what surrounds it, several times.
const BUFFER: usize = 8 * 1024;

/// How a thousand watchers are connected and which of them read while the clock runs.
struct Scenario {
    figure: &'static str,
    protocol: Protocol,
    connections: usize,
    /// One in so many reads at once. The others wait until these have heard, as if they were on machines of
    /// their own: reading a thousand streams costs as much as writing them.
    prompt_every: usize,
    goal: Goal,
}

const SCENARIOS: [Scenario; 4] = [
    Scenario {
        figure: "1,000 connections, all read on the server's cores",
        protocol: Protocol::Http1,
        connections: WATCHERS,
        prompt_every: 1,
        goal: Goal::AtMost(20.0),
    },
    Scenario {
        figure: "1,000 connections, 50 of them read at once",
        protocol: Protocol::Http1,
        connections: WATCHERS,
        prompt_every: 20,
        goal: Goal::None,
    },
    Scenario {
        figure: "1,000 connections of HTTP/2",
        protocol: Protocol::Http2,
        connections: WATCHERS,
        prompt_every: 1,
        goal: Goal::None,
    },
    Scenario {
        figure: "10 connections of HTTP/2",
        protocol: Protocol::Http2,
        connections: 10,
        prompt_every: 1,
        goal: Goal::None,
    },
];

pub async fn measure(orlop: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for scenario in &SCENARIOS {
        rows.extend(scenario.measure(orlop).await?);
    }
    Ok(rows)
}

impl Scenario {
    /// The commit is not seen from outside. It lies between sending the write and the first watcher's hearing of
    /// it: counted from the former, the figure is an upper bound, and the latter is told along.
    async fn measure(&self, orlop: &Path) -> Result<Vec<Row>> {
        let cluster = Cluster::ready(orlop, Role::Plane).await?;
        settle().await;
        let hall = Arc::new(Hall::new(WATCHERS, WATCHERS / self.prompt_every));
        self.watch_all(&cluster, &hall).await?;
        settle().await;
        let mut writer = Connection::open(&cluster.config()?).await?;
        let (mut p99, mut first, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..RUNS {
            let (mut late, mut firsts) = (Vec::new(), Vec::new());
            let before = cpu_seconds(cluster.pid())?;
            for write in 0..WRITES_PER_RUN {
                let delays = one_write(&mut writer, &format!("w{run}-{write}"), &hall).await?;
                firsts.extend(delays.first());
                late.extend(delays);
            }
            cpu.push((cpu_seconds(cluster.pid())? - before) * 1e6 / (WRITES_PER_RUN * WATCHERS) as f64);
            late.sort_by(f64::total_cmp);
            firsts.sort_by(f64::total_cmp);
            p99.push(quantile(&late, 0.99));
            first.push(quantile(&firsts, 0.5));
        }
        let figure = format!("watch: write sent to 1,000 watchers on {}", self.figure);
        Ok(vec![
            Row::new(format!("{figure}, p99"), self.goal, "ms", p99),
            Row::new(format!("{figure}, the first of them"), Goal::None, "ms", first),
            Row::new(format!("{figure}, the server's CPU for each"), Goal::None, "µs", cpu),
        ])
    }

    async fn watch_all(&self, cluster: &Cluster, hall: &Arc<Hall>) -> Result<()> {
        let clients: Vec<Client> = (0..self.connections).map(|_| cluster.client()).collect::<Result<_>>()?;
        let config = cluster.config()?;
        let list: serde_json::Value = serde_json::from_slice(&clients[0].get_raw(PATH).await?)?;
        let revision = list["metadata"]["resourceVersion"].as_str().context("a list without a revision")?;
        let path = format!("{PATH}?watch=true&resourceVersion={revision}");
        // In portions: a thousand handshakes at once would time out on a small machine.
        let all: Vec<usize> = (0..WATCHERS).collect();
        for portion in all.chunks(50) {
            let sources = portion.iter().map(|n| self.source(&clients[n % self.connections], &config, &path));
            for (n, source) in portion.iter().zip(try_join_all(sources).await.context("starting watches")?) {
                tokio::spawn(listen(source, hall.clone(), n % self.prompt_every == 0));
            }
        }
        Ok(())
    }

    async fn source(&self, client: &Client, config: &Config, path: &str) -> Result<Source> {
        Ok(match self.protocol {
            Protocol::Http1 => Source::Raw(Box::new(RawWatch::open(config, path).await?)),
            Protocol::Http2 => Source::Body(client.stream(Method::GET, path, "application/json").await?.into_body()),
        })
    }
}

/// Milliseconds until each of the prompt watchers heard of it.
pub async fn one_write(writer: &mut Connection, name: &str, hall: &Hall) -> Result<Vec<f64>> {
    let sent = Instant::now();
    let answer = writer.post(PATH, config_map(name)).await?;
    if !answer.status.is_success() {
        bail!("creating a ConfigMap: {}", answer.status);
    }
    let silence = "some watcher never heard of a write";
    tokio::time::timeout(PATIENCE, hall.heard.notified()).await.context(silence)?;
    hall.turn.send_replace(());
    tokio::time::timeout(PATIENCE, hall.caught_up.notified()).await.context(silence)?;
    let mut at = hall.at.lock().expect("no holder panics");
    Ok(at.drain(..).take(hall.prompt).map(|at| at.duration_since(sent).as_secs_f64() * 1e3).collect())
}

/// Where watchers tell when they heard of the write under way.
pub struct Hall {
    at: Mutex<Vec<Instant>>,
    /// How many watch.
    all: usize,
    /// How many read at once.
    prompt: usize,
    /// All of those have heard.
    heard: Notify,
    /// Now it is the others' turn.
    turn: watch::Sender<()>,
    caught_up: Notify,
}

impl Hall {
    pub fn new(all: usize, prompt: usize) -> Self {
        let (at, heard, caught_up) = Default::default();
        Self { at, all, prompt, heard, turn: watch::Sender::new(()), caught_up }
    }

    fn hear(&self, events: usize) {
        let now = Instant::now();
        let mut at = self.at.lock().expect("no holder panics");
        for _ in 0..events {
            at.push(now);
            if at.len() == self.prompt {
                self.heard.notify_one();
            }
            if at.len() == self.all {
                self.caught_up.notify_one();
            }
        }
    }
}

pub async fn listen(mut source: Source, hall: Arc<Hall>, prompt: bool) {
    let mut turn = hall.turn.subscribe();
    while prompt || turn.changed().await.is_ok() {
        match source.next().await {
            Some(events) => hall.hear(events),
            None => break,
        }
    }
}

pub enum Source {
    Body(Body),
    Raw(Box<RawWatch>),
}

impl Source {
    /// Waits for events and counts them; what they say is not looked at. `None` at the end.
    async fn next(&mut self) -> Option<usize> {
        loop {
            let events = match self {
                Self::Body(body) => {
                    let frame = body.frame().await?.ok()?;
                    frame.data_ref().map_or(0, |data| data.split(|byte| *byte == b'\n').count() - 1)
                }
                Self::Raw(raw) => raw.read().await.ok()?,
            };
            if events > 0 {
                return Some(events);
            }
        }
    }
}

/// A watch over HTTP/1.1 whose framing nobody looks at: a thousand readers cost less that way.
pub struct RawWatch {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    last: u8,
}

impl RawWatch {
    pub async fn open(config: &Config, path: &str) -> Result<Self> {
        let (mut stream, host) = connect(config, Protocol::Http1).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: application/json\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        // Writing alone may leave it in TLS's buffer.
        stream.flush().await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        if !head.starts_with(b"HTTP/1.1 200 ") {
            bail!("watching: {}", String::from_utf8_lossy(&head));
        }
        Ok(Self { stream, buffer: vec![0; BUFFER], last: 0 })
    }

    /// Whatever has come, at least a byte. Only the end of an event is a brace and then a newline.
    async fn read(&mut self) -> Result<usize> {
        let length = self.stream.read(&mut self.buffer).await?;
        if length == 0 {
            bail!("the watch ended");
        }
        let mut events = 0;
        for &byte in &self.buffer[..length] {
            events += usize::from(self.last == b'}' && byte == b'\n');
            self.last = byte;
        }
        Ok(events)
    }
}
