//! `/metrics`, under upstream's names (`k8s.io/apiserver/pkg/endpoints/metrics`).

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::Response;
use orlop_client::transport::Body;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::Server;
use crate::request::RequestInfo;
use crate::resource::Resource;
use crate::wire::respond;

/// Upstream's buckets for `apiserver_request_duration_seconds`.
const DURATION_BUCKETS: [f64; 24] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0, 120.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    component: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    verb: String,
    dry_run: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    component: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    request_kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabels {
    group: String,
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    group: String,
    version: String,
    resource: String,
}

#[derive(Clone)]
struct Durations;

impl MetricConstructor<Histogram> for Durations {
    fn new_metric(&self) -> Histogram {
        Histogram::new(DURATION_BUCKETS)
    }
}

pub struct Metrics {
    registry: Registry,
    requests: Family<CodeLabels, Counter>,
    durations: Family<RequestLabels, Histogram, Durations>,
    inflight: Family<LaneLabels, Gauge>,
    long_running: Family<RequestLabels, Gauge>,
    objects: Family<ObjectLabels, Gauge>,
    watch_events: Family<WatchLabels, Counter>,
    watch_bytes: Family<WatchLabels, Counter>,
    revision: Gauge<f64, AtomicU64>,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let (requests, inflight) = (Family::default(), Family::default());
        let durations = Family::new_with_constructor(Durations);
        let (long_running, objects) = (Family::default(), Family::default());
        let (watch_events, watch_bytes) = (Family::default(), Family::default());
        let (revision, start) = (Gauge::default(), Gauge::<f64, AtomicU64>::default());
        start.set(crate::server::started() as f64);
        let r = &mut registry;
        r.register("apiserver_request", "Requests by verb, resource and code", Family::clone(&requests));
        r.register("apiserver_request_duration_seconds", "Time to answer, in seconds", Family::clone(&durations));
        r.register("apiserver_current_inflight_requests", "Requests under way", Family::clone(&inflight));
        r.register("apiserver_longrunning_requests", "Watches and streams under way", Family::clone(&long_running));
        r.register("apiserver_resource_objects", "Stored objects", Family::clone(&objects));
        r.register("apiserver_watch_events", "Watch events sent", Family::clone(&watch_events));
        r.register("apiserver_watch_events_sizes_sum", "Bytes of watch events sent", Family::clone(&watch_bytes));
        r.register("apiserver_storage_revision", "Newest durable revision", Gauge::clone(&revision));
        r.register("process_start_time_seconds", "Unix time of the process's start", start);
        Self { registry, requests, durations, inflight, long_running, objects, watch_events, watch_bytes, revision }
    }

    /// Counts an answered request.
    pub(crate) fn request_done(&self, info: &RequestInfo, response: &Response<Body>, took: Duration) {
        let labels = labels(info);
        if !crate::pipeline::is_long_running(info) {
            self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        }
        let RequestLabels { verb, group, version, resource, subresource, scope, component } = labels;
        let dry_run = info.query("dryRun").unwrap_or_default().to_owned();
        let code = response.status().as_u16();
        let labels = CodeLabels { verb, dry_run, group, version, resource, subresource, scope, component, code };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts a long-running request until the guard goes.
    pub(crate) fn long_running(&self, info: &RequestInfo) -> LongRunning {
        let gauge = self.long_running.get_or_create_owned(&labels(info));
        gauge.inc();
        LongRunning(gauge)
    }

    pub(crate) fn watch_events(&self, resource: &Resource) -> WatchEvents {
        let labels = WatchLabels {
            group: resource.info().group.to_string(),
            version: resource.version().to_owned(),
            resource: resource.info().plural.to_string(),
        };
        WatchEvents {
            events: self.watch_events.get_or_create_owned(&labels),
            bytes: self.watch_bytes.get_or_create_owned(&labels),
        }
    }

    pub(crate) fn serve(&self, server: &Server) -> Response<Body> {
        let (reads, writes) = server.inflight.busy();
        self.inflight.get_or_create(&LaneLabels { request_kind: "readOnly" }).set(reads as i64);
        self.inflight.get_or_create(&LaneLabels { request_kind: "mutating" }).set(writes as i64);
        let snapshot = server.store.snapshot();
        self.revision.set(snapshot.revision() as f64);
        for resource in server.resources().iter().filter(|r| r.is_stored_version()) {
            let labels =
                ObjectLabels { group: resource.info().group.to_string(), resource: resource.info().plural.to_string() };
            let count = snapshot.count(resource.storage_key(), None);
            self.objects.get_or_create(&labels).set(count as i64);
        }
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => respond::text(200, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
            Err(error) => respond::text(500, "text/plain; charset=utf-8", error.to_string()),
        }
    }
}

/// Upstream's verbs are upper case, and reads of one object are told from lists.
fn labels(info: &RequestInfo) -> RequestLabels {
    let verb = if info.is_resource || info.verb == "get" { info.verb.to_uppercase() } else { "other".to_owned() };
    let scope = match (info.is_resource, info.name.is_empty(), info.namespace.is_empty()) {
        (false, ..) => "",
        (_, false, _) => "resource",
        (_, _, false) => "namespace",
        _ => "cluster",
    };
    RequestLabels {
        verb,
        group: info.api_group.clone(),
        version: info.api_version.clone(),
        resource: info.resource.clone(),
        subresource: if info.is_resource { info.subresource.clone() } else { top_path(&info.path).to_owned() },
        scope,
        component: "apiserver",
    }
}

/// Paths outside the API come from anybody: only known ones become label values.
fn top_path(path: &str) -> &str {
    let known =
        ["/healthz", "/livez", "/readyz", "/metrics", "/version", "/openapi/v2", "/openapi/v3", "/api", "/apis"];
    known
        .iter()
        .find(|known| path == **known || path.strip_prefix(**known).is_some_and(|r| r.starts_with('/')))
        .unwrap_or(&"")
}

/// Held while a long-running request goes on.
pub(crate) struct LongRunning(Gauge);

impl Drop for LongRunning {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counters of one watch.
pub(crate) struct WatchEvents {
    events: Counter,
    bytes: Counter,
}

impl WatchEvents {
    pub fn count(&self, bytes: usize) {
        self.events.inc();
        self.bytes.inc_by(bytes as u64);
    }
}
