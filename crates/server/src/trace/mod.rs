//! OpenTelemetry traces (`--tracing-config-file`; KEP 647, `k8s.io/component-base/tracing`).
//!
//! A request is traced when the trace it belongs to is, as its `traceparent` says, if it comes from somebody who may
//! decide that; else by chance. Its span has spans within, one for each step. Nothing is spent on others.

mod config;
mod context;
mod export;
mod otlp;
mod request;

use std::sync::Arc;
use std::time::Duration;

use orlop_base::{clock, id, task};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{Configuration, TracingError};
pub(crate) use context::Onward;
pub use context::SpanContext;
pub(crate) use otlp::{Attribute, Kind, Span, Value};
pub(crate) use request::{Active, begin};

/// Spans that wait to be sent; more are lost (`OTEL_BSP_MAX_QUEUE_SIZE`).
const MAX_WAITING: usize = 2048;

/// Decides what is traced, and takes finished spans.
#[derive(Debug)]
pub struct Tracer {
    /// New traces are taken whose identifier, half of it as a number, is below.
    below: u64,
    spans: mpsc::Sender<Span>,
    stop: CancellationToken,
    sending: TaskTracker,
}

/// How long the process waits at its end for a collector to take what is there.
const LAST_WORDS: Duration = Duration::from_secs(10);

impl Tracer {
    /// Sends what there is for as long as anybody holds this. Must be called within a tokio runtime.
    pub fn start(configuration: &Configuration) -> Arc<Self> {
        let (spans, queue) = mpsc::channel(MAX_WAITING);
        let (stop, sending) = (CancellationToken::new(), TaskTracker::new());
        sending.spawn(task::boxed(export::run(configuration.target.clone(), queue, stop.clone())));
        sending.close();
        Arc::new(Self { below: bound(configuration.sampling_rate_per_million), spans, stop, sending })
    }

    /// Sends what there still is; nothing is taken afterwards.
    pub async fn close(&self) {
        self.stop.cancel();
        if timeout(LAST_WORDS, self.sending.wait()).await.is_err() {
            tracing::warn!("the last traces could not be sent in time");
        }
    }

    /// Where a request's span stands: within the sender's trace, or at the root of its own.
    fn place(&self, parent: Option<SpanContext>) -> SpanContext {
        match parent {
            Some(parent) => SpanContext { span: bytes(), ..parent },
            None => {
                let trace: [u8; 16] = bytes();
                let number = u64::from_be_bytes(trace[8..].try_into().expect("eight of sixteen")) >> 1;
                SpanContext { trace, span: bytes(), sampled: number < self.below }
            }
        }
    }

    fn finish(&self, span: Span) {
        // A collector that does not keep up must not slow requests down.
        let _ = self.spans.try_send(span);
    }
}

/// Nanoseconds since the epoch.
pub(crate) fn now() -> u64 {
    clock::unix_nanos().max(0) as u64
}

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    id::with_rng(|rng| rng.fill(&mut bytes));
    bytes
}

/// Of a 63-bit number.
fn bound(per_million: u32) -> u64 {
    ((u128::from(per_million) << 63) / 1_000_000) as u64
}

#[cfg(test)]
mod tests;
