//! `/metrics`, under upstream's names (`k8s.io/apiserver/pkg/endpoints/metrics`).

mod build;
pub mod family;
mod labels;
mod process;
pub mod slis;

use std::time::Duration;

use http::{HeaderMap, Response};
use http_body::Body as _;
use orlop_client::transport::Body;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::Server;
use crate::audit::Audit;
use crate::features::Features;
use crate::observe::Observed;
use crate::request::RequestInfo;
use crate::resource::Resource;
use crate::wire::respond;
pub use labels::RequestLabels;
use labels::{CodeLabels, LaneLabels, ObjectLabels, StorageLabels, VersionLabels};
use process::Process;

/// Upstream's buckets for `apiserver_request_duration_seconds`.
const DURATION_BUCKETS: [f64; 24] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0, 120.0,
];

/// Upstream's for `apiserver_request_sli_duration_seconds`.
const SLI_BUCKETS: [f64; 21] =
    [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];

#[derive(Clone)]
struct SliDurations;

impl MetricConstructor<Histogram> for SliDurations {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SLI_BUCKETS)
    }
}

#[derive(Clone)]
struct Durations;

impl MetricConstructor<Histogram> for Durations {
    fn new_metric(&self) -> Histogram {
        Histogram::new(DURATION_BUCKETS)
    }
}

/// Bytes of whole answers, 1 kB to 1 GB.
#[derive(Clone)]
struct AnswerSizes;

impl MetricConstructor<Histogram> for AnswerSizes {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(1000.0, 10.0, 7))
    }
}

/// Bytes of one watch event, 1 KiB to 128 KiB.
#[derive(Clone)]
struct EventSizes;

impl MetricConstructor<Histogram> for EventSizes {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(1024.0, 2.0, 8))
    }
}

pub struct Metrics {
    registry: Registry,
    requests: Family<CodeLabels, Counter>,
    durations: Family<RequestLabels, Histogram, Durations>,
    sli_durations: Family<RequestLabels, Histogram, SliDurations>,
    sizes: Family<RequestLabels, Histogram, AnswerSizes>,
    terminations: Family<CodeLabels, Counter>,
    inflight: Family<LaneLabels, Gauge>,
    long_running: Family<RequestLabels, Gauge>,
    objects: Family<ObjectLabels, Gauge>,
    storage_objects: Family<StorageLabels, Gauge>,
    watch_events: Family<VersionLabels, Counter>,
    watch_sizes: Family<VersionLabels, Histogram, EventSizes>,
    handshake_errors: Counter,
    process: Process,
}

impl Metrics {
    pub fn new(audit: Option<&Audit>, features: Features) -> Self {
        let mut registry = Registry::default();
        features.register(&mut registry);
        if let Some(audit) = audit {
            audit.register(&mut registry);
        }
        let process = Process::register(&mut registry);
        let mut metrics = Self {
            registry,
            requests: Family::default(),
            durations: Family::new_with_constructor(Durations),
            sli_durations: Family::new_with_constructor(SliDurations),
            sizes: Family::new_with_constructor(AnswerSizes),
            terminations: Family::default(),
            inflight: Family::default(),
            long_running: Family::default(),
            objects: Family::default(),
            storage_objects: Family::default(),
            watch_events: Family::default(),
            watch_sizes: Family::new_with_constructor(EventSizes),
            handshake_errors: Counter::default(),
            process,
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let Self { registry: r, .. } = self;
        r.register("apiserver_request", "Requests by verb, resource and code", Family::clone(&self.requests));
        r.register("apiserver_request_duration_seconds", "Time to answer, in seconds", Family::clone(&self.durations));
        r.register(
            "apiserver_request_sli_duration_seconds",
            "Time to answer without what webhooks and waiting took, in seconds",
            Family::clone(&self.sli_durations),
        );
        r.register("apiserver_response_sizes", "Bytes of answers", Family::clone(&self.sizes));
        r.register(
            "apiserver_request_terminations",
            "Requests ended in self-defence",
            Family::clone(&self.terminations),
        );
        r.register("apiserver_current_inflight_requests", "Requests under way", Family::clone(&self.inflight));
        r.register(
            "apiserver_longrunning_requests",
            "Watches and streams under way",
            Family::clone(&self.long_running),
        );
        r.register("apiserver_resource_objects", "Stored objects", Family::clone(&self.objects));
        r.register("apiserver_storage_objects", "Stored objects, by old name", Family::clone(&self.storage_objects));
        r.register("apiserver_watch_events", "Watch events sent", Family::clone(&self.watch_events));
        r.register("apiserver_watch_events_sizes", "Bytes of watch events", Family::clone(&self.watch_sizes));
        r.register("apiserver_tls_handshake_errors", "Failed TLS handshakes", Counter::clone(&self.handshake_errors));
        crate::flow::metrics::register(r);
        // The callers in this process: their queues, requests and leases.
        orlop_client::metrics::register(r);
        crate::review::metrics::register(r);
        crate::admission::metrics::register(r);
        crate::authn::metrics::register(r);
        crate::authz::metrics::register(r);
        crate::token::external::metrics::register(r);
        crate::aggregation::metrics::register(r);
        build::register(r);
        crate::services::metrics::METRICS.register(r);
        crate::encryption::metrics::METRICS.register(r);
        crate::encryption::kms::metrics::METRICS.register(r);
    }

    /// Counts an answered request.
    pub(crate) fn request_done(
        &self,
        info: &RequestInfo,
        headers: &HeaderMap,
        response: &Response<Body>,
        took: Duration,
        observed: &Observed,
    ) {
        let labels = RequestLabels::of(info, headers);
        if !crate::pipeline::is_long_running(info) {
            self.durations.get_or_create(&labels).observe(took.as_secs_f64());
            if observed.is_counted() && info.query("dryRun").is_none() {
                let ours = took.saturating_sub(observed.foreign());
                self.sli_durations.get_or_create(&labels).observe(ours.as_secs_f64());
            }
        }
        // As upstream, only of reads.
        let read = matches!(&*info.verb, "get" | "list");
        if let Some(bytes) = response.body().size_hint().exact().filter(|_| read) {
            self.sizes.get_or_create(&labels).observe(bytes as f64);
        }
        let code = response.status().as_u16();
        let labels = CodeLabels::of(labels, info, code);
        if matches!(code, 429 | 504) {
            self.terminations.get_or_create(&labels).inc();
        }
        self.requests.get_or_create(&labels).inc();
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshake_errors.inc();
    }

    /// Counts a long-running request until the guard goes.
    pub(crate) fn long_running(&self, info: &RequestInfo, headers: &HeaderMap) -> LongRunning {
        let gauge = self.long_running.get_or_create_owned(&RequestLabels::of(info, headers));
        gauge.inc();
        LongRunning(gauge)
    }

    pub(crate) fn watch_events(&self, resource: &Resource) -> WatchEvents {
        let labels = VersionLabels::of(resource);
        WatchEvents {
            events: self.watch_events.get_or_create_owned(&labels),
            sizes: self.watch_sizes.get_or_create_owned(&labels),
        }
    }

    pub(crate) fn serve(&self, server: &Server) -> Response<Body> {
        let (reads, writes) = server.inflight.busy();
        self.inflight.get_or_create(&LaneLabels { request_kind: "readOnly" }).set(reads as i64);
        self.inflight.get_or_create(&LaneLabels { request_kind: "mutating" }).set(writes as i64);
        crate::flow::metrics::levels::set(server.flow.describe());
        crate::flow::metrics::levels::set_wishes(&server.flow.wishes());
        let snapshot = server.store.snapshot();
        for resource in server.resources().iter().filter(|r| r.is_stored_version()) {
            let count = snapshot.count(resource.storage_key(), None) as i64;
            self.objects.get_or_create(&ObjectLabels::of(resource)).set(count);
            self.storage_objects.get_or_create(&StorageLabels::of(resource)).set(count);
        }
        server.allocators.measure(&snapshot);
        self.process.refresh();
        exposition(&self.registry)
    }
}

fn exposition(registry: &Registry) -> Response<Body> {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => respond::text(200, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
        Err(error) => respond::text(500, "text/plain; charset=utf-8", error.to_string()),
    }
}

/// Held while a long-running request goes on.
pub(crate) struct LongRunning(Gauge);

impl Drop for LongRunning {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What one watch counts.
pub(crate) struct WatchEvents {
    events: Counter,
    sizes: Histogram,
}

impl WatchEvents {
    pub fn count(&self, bytes: usize) {
        self.events.inc();
        self.sizes.observe(bytes as f64);
    }
}
