//! Sending spans to a collector: OTLP over gRPC, in batches, as OpenTelemetry's batch processor does.

use std::time::Duration;

use orlop_base::grpc::{Channel, Failure};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::config::Target;
use super::otlp::{self, Span};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const MAX_BATCH: usize = 512;
/// How long a batch waits for more after its first span.
const DELAY: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Until the queue's other end is gone, or `stop` and nothing waits. What cannot be sent is lost.
pub async fn run(target: Target, mut queue: mpsc::Receiver<Span>, stop: CancellationToken) {
    let instance = format!("apiserver-{}", orlop_base::id::uuid());
    let mut channel = None;
    let mut failing = false;
    while let Some(batch) = gather(&mut queue, &stop).await {
        let sent = timeout(TIMEOUT, send(&target, &mut channel, &instance, &batch)).await;
        let sent = sent.unwrap_or(Err(Failure::TimedOut));
        match &sent {
            // Told once, not with every batch.
            Err(failure) if !failing => tracing::warn!(%failure, ?target, "traces cannot be sent, and are lost"),
            Ok(()) if failing => tracing::info!(?target, "traces are sent again"),
            _ => {}
        }
        failing = sent.is_err();
        if failing {
            channel = None;
        }
    }
}

/// The next spans; `None` at the end. Once stopped, it takes what is there.
async fn gather(queue: &mut mpsc::Receiver<Span>, stop: &CancellationToken) -> Option<Vec<Span>> {
    let first = match stop.run_until_cancelled(queue.recv()).await {
        Some(span) => span?,
        None => queue.try_recv().ok()?,
    };
    let mut batch = vec![first];
    let more = async {
        while batch.len() < MAX_BATCH
            && let Some(span) = queue.recv().await
        {
            batch.push(span);
        }
    };
    let _ = timeout(DELAY, stop.run_until_cancelled(more)).await;
    while batch.len() < MAX_BATCH
        && let Ok(span) = queue.try_recv()
    {
        batch.push(span);
    }
    Some(batch)
}

async fn send(target: &Target, channel: &mut Option<Channel>, instance: &str, batch: &[Span]) -> Result<(), Failure> {
    let channel = match channel.take().filter(|channel| !channel.is_closed()) {
        Some(open) => channel.insert(open),
        None => channel.insert(connect(target).await?),
    };
    channel.unary(EXPORT, &otlp::request(instance, batch)).await.map(drop)
}

async fn connect(target: &Target) -> Result<Channel, Failure> {
    let failed = |why: String| Failure::Unreachable { endpoint: format!("{target:?}"), why };
    let io = |error: std::io::Error| failed(error.to_string());
    match target {
        Target::Tcp(address) => {
            Channel::over(TcpStream::connect(address).await.map_err(io)?, address, &[]).await.map_err(failed)
        }
        Target::Unix(address) => {
            let connect = || {
                let stream = std::os::unix::net::UnixStream::connect_addr(address)?;
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream)
            };
            Channel::over(connect().map_err(io)?, "localhost", &[]).await.map_err(failed)
        }
    }
}
