//! Metrics under upstream's names: client-go's `workqueue_*`, `rest_client_*`, `leader_election_*`.
//! One set per process; [`register`] puts it where `/metrics` is served from.

use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

type Name = [(&'static str, &'static str); 1];
type RequestLabels = [(&'static str, String); 2];

struct All {
    depth: Family<Name, Gauge>,
    adds: Family<Name, Counter>,
    retries: Family<Name, Counter>,
    queue_seconds: Family<Name, Histogram, fn() -> Histogram>,
    work_seconds: Family<Name, Histogram, fn() -> Histogram>,
    requests: Family<RequestLabels, Counter>,
    leader: Family<Name, Gauge>,
}

static ALL: LazyLock<All> = LazyLock::new(|| All {
    depth: Family::default(),
    adds: Family::default(),
    retries: Family::default(),
    queue_seconds: Family::new_with_constructor(durations),
    work_seconds: Family::new_with_constructor(durations),
    requests: Family::default(),
    leader: Family::default(),
});

/// Work under way: asked for at each scrape instead of kept current by a ticker.
type Ages = Box<dyn Fn() -> Option<Vec<Duration>> + Send>;
static RUNNING: Mutex<Vec<(&'static str, Ages)>> = Mutex::new(Vec::new());

/// Upstream's buckets: ten, from 10 ns, tenfold.
fn durations() -> Histogram {
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(1e-8, 10.0, 10))
}

/// Registers every metric of this crate.
pub fn register(registry: &mut Registry) {
    let all = &*ALL;
    registry.register("workqueue_depth", "Current depth of workqueue", all.depth.clone());
    registry.register("workqueue_adds", "Total number of adds handled by workqueue", all.adds.clone());
    registry.register("workqueue_retries", "Total number of retries handled by workqueue", all.retries.clone());
    let help = "How long in seconds an item stays in workqueue before being requested";
    registry.register("workqueue_queue_duration_seconds", help, all.queue_seconds.clone());
    let help = "How long in seconds processing an item from workqueue takes";
    registry.register("workqueue_work_duration_seconds", help, all.work_seconds.clone());
    let help = "Number of HTTP requests, partitioned by status code and method";
    registry.register("rest_client_requests", help, all.requests.clone());
    let help = "Whether this process holds the lease: 1 yes, 0 standby";
    registry.register("leader_election_master_status", help, all.leader.clone());
    registry.register_collector(Box::new(Running));
}

/// One request done: `code` is the status, or `<error>` without an answer.
pub(crate) fn request_done(method: &http::Method, code: Option<u16>) {
    let code = code.map_or_else(|| "<error>".to_owned(), |c| c.to_string());
    ALL.requests.get_or_create(&[("code", code), ("method", method.to_string())]).inc();
}

pub(crate) fn leading(name: &'static str, leads: bool) {
    ALL.leader.get_or_create(&[("name", name)]).set(i64::from(leads));
}

/// The metrics of one queue.
#[derive(Clone, Copy)]
pub(crate) struct QueueMetrics {
    name: &'static str,
}

impl QueueMetrics {
    pub fn new(name: &'static str) -> Self {
        ALL.depth.get_or_create(&[("name", name)]).set(0);
        Self { name }
    }

    /// `ages` yields how long each item has been worked on, or `None` when the queue is gone. Takes the
    /// place of an earlier queue of this name.
    pub fn running(&self, ages: impl Fn() -> Option<Vec<Duration>> + Send + 'static) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|(known, _)| *known != self.name);
        running.push((self.name, Box::new(ages)));
    }

    pub fn added(&self, depth: usize) {
        ALL.depth.get_or_create(&[("name", self.name)]).set(depth as i64);
        ALL.adds.get_or_create(&[("name", self.name)]).inc();
    }

    pub fn taken(&self, depth: usize, waited: Duration) {
        ALL.depth.get_or_create(&[("name", self.name)]).set(depth as i64);
        ALL.queue_seconds.get_or_create(&[("name", self.name)]).observe(waited.as_secs_f64());
    }

    pub fn finished(&self, ran: Duration) {
        ALL.work_seconds.get_or_create(&[("name", self.name)]).observe(ran.as_secs_f64());
    }

    pub fn retried(&self) {
        ALL.retries.get_or_create(&[("name", self.name)]).inc();
    }
}

#[derive(Debug)]
struct Running;

impl Collector for Running {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut queues: Vec<(&'static str, Vec<Duration>)> = Vec::new();
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, ages)| {
            let ages = ages();
            let alive = ages.is_some();
            queues.extend(ages.map(|ages| (*name, ages)));
            alive
        });
        let help = "How many seconds of work has been done that is in progress and has not been observed by \
                    work_duration";
        let sum = |ages: &[Duration]| ages.iter().map(Duration::as_secs_f64).sum();
        encode_gauges(&mut encoder, "workqueue_unfinished_work_seconds", help, &queues, sum)?;
        let help = "How many seconds has the longest running processor been running";
        let max = |ages: &[Duration]| ages.iter().max().map_or(0.0, Duration::as_secs_f64);
        encode_gauges(&mut encoder, "workqueue_longest_running_processor_seconds", help, &queues, max)
    }
}

fn encode_gauges(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    queues: &[(&'static str, Vec<Duration>)],
    value: impl Fn(&[Duration]) -> f64,
) -> Result<(), fmt::Error> {
    let shape = ConstGauge::new(0.0f64);
    let mut metric = encoder.encode_descriptor(name, help, None, shape.metric_type())?;
    for (queue, ages) in queues {
        ConstGauge::new(value(ages)).encode(metric.encode_family(&[("name", *queue)])?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_upstreams() {
        let mut registry = Registry::default();
        register(&mut registry);
        let queue = QueueMetrics::new("test");
        queue.running(|| Some(vec![Duration::from_secs(1), Duration::from_secs(3)]));
        queue.added(2);
        queue.taken(1, Duration::from_millis(1));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "workqueue_depth{name=\"test\"} 1",
            "workqueue_adds_total{name=\"test\"} 1",
            "workqueue_queue_duration_seconds_bucket{le=\"0.001\",name=\"test\"} 1",
            "workqueue_unfinished_work_seconds{name=\"test\"} 4.0",
            "workqueue_longest_running_processor_seconds{name=\"test\"} 3.0",
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }
}
