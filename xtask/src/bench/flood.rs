//! Many clients at once, each sending its next request when the last is answered, or when it is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;

use super::connection::{Call, Connection};

/// Longer than any number of requests here takes on a machine that can be used at all.
const PATIENCE: Duration = Duration::from_secs(600);

/// `count` requests, shared among the clients; the clients again, and the milliseconds each request took. Every
/// answer must be a success.
pub async fn flood(
    clients: Vec<Connection>,
    count: usize,
    ask: impl Fn(usize) -> Call + Send + Sync + 'static,
) -> Result<(Vec<Connection>, Vec<f64>)> {
    send(clients, count, |_| None, ask).await
}

/// The same, but `per_second` requests fall due, evenly, however long those before them take: one that finds no client
/// free waits, and its wait counts.
pub async fn steadily(
    clients: Vec<Connection>,
    count: usize,
    per_second: f64,
    ask: impl Fn(usize) -> Call + Send + Sync + 'static,
) -> Result<(Vec<Connection>, Vec<f64>)> {
    let began = Instant::now();
    send(clients, count, move |n| Some(began + Duration::from_secs_f64(n as f64 / per_second)), ask).await
}

async fn send(
    clients: Vec<Connection>,
    count: usize,
    due: impl Fn(usize) -> Option<Instant> + Copy + Send + Sync + 'static,
    ask: impl Fn(usize) -> Call + Send + Sync + 'static,
) -> Result<(Vec<Connection>, Vec<f64>)> {
    let (next, ask) = (Arc::new(AtomicUsize::new(0)), Arc::new(ask));
    let tasks = clients.into_iter().map(|client| tokio::spawn(one(client, count, next.clone(), due, ask.clone())));
    let ended = tokio::time::timeout(PATIENCE, try_join_all(tasks)).await.context("the requests took too long")??;
    let (mut clients, mut took) = (Vec::new(), Vec::with_capacity(count));
    for client in ended {
        let (client, milliseconds) = client?;
        clients.push(client);
        took.extend(milliseconds);
    }
    Ok((clients, took))
}

async fn one(
    mut client: Connection,
    count: usize,
    next: Arc<AtomicUsize>,
    due: impl Fn(usize) -> Option<Instant>,
    ask: Arc<impl Fn(usize) -> Call + Send + Sync>,
) -> Result<(Connection, Vec<f64>)> {
    let mut took = Vec::new();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= count {
            return Ok((client, took));
        }
        let call = ask(n);
        let asked = format!("{} {}", call.method, call.path);
        let began = begin(due(n)).await;
        let answer = client.answer(call).await?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
        if !answer.status.is_success() {
            bail!("{asked}: {}", answer.status);
        }
    }
}

/// When a request begins: now; one that is overdue began when it fell due. What a timer is late by is not the server's.
async fn begin(due: Option<Instant>) -> Instant {
    let now = Instant::now();
    match due {
        Some(due) if due <= now => due,
        Some(due) => {
            tokio::time::sleep_until(due.into()).await;
            Instant::now()
        }
        None => now,
    }
}
