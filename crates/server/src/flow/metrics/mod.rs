//! What became of requests, by FlowSchema and priority level, under upstream's names (`flowcontrol/metrics`).
//!
//! A schema has its numbers ready: counting a request looks nothing up.

pub mod levels;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::timing::{TimingHistogram, Timings};
use crate::request::RequestInfo;

const DURATION_BUCKETS: [f64; 13] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
const SEAT_BUCKETS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];
const LENGTH_BUCKETS: [f64; 8] = [0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
const WATCH_BUCKETS: [f64; 6] = [0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0];
const LANE_BOUNDS: &[f64] = &[0.0, 0.001, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];

const WAITING: &str = "waiting";
const EXECUTING: &str = "executing";
const READS: &str = "readOnly";
const WRITES: &str = "mutating";

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);

struct Metrics {
    dispatched: Family<SchemaLabels, Counter>,
    rejected: Family<RejectionLabels, Counter>,
    waiting: Family<SchemaLabels, Gauge>,
    waiting_seats: Family<SchemaLabels, Gauge>,
    executing: Family<SchemaLabels, Gauge>,
    executing_seats: Family<SchemaLabels, Gauge>,
    waits: Family<WaitLabels, Histogram, Durations>,
    executions: Family<ExecutionLabels, Histogram, Durations>,
    widths: Family<SchemaLabels, Histogram, Seats>,
    lengths: Family<SchemaLabels, Histogram, Lengths>,
    watchers: Family<SchemaLabels, Histogram, WatchCounts>,
    too_wide: Family<SchemaLabels, Counter>,
    lanes: Family<LaneLabels, TimingHistogram, Timings>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            dispatched: Family::default(),
            rejected: Family::default(),
            waiting: Family::default(),
            waiting_seats: Family::default(),
            executing: Family::default(),
            executing_seats: Family::default(),
            waits: Family::new_with_constructor(Durations),
            executions: Family::new_with_constructor(Durations),
            widths: Family::new_with_constructor(Seats),
            lengths: Family::new_with_constructor(Lengths),
            watchers: Family::new_with_constructor(WatchCounts),
            too_wide: Family::default(),
            lanes: Family::new_with_constructor(Timings(LANE_BOUNDS)),
        }
    }
}

macro_rules! buckets {
    ($name:ident, $buckets:ident) => {
        #[derive(Clone)]
        struct $name;

        impl MetricConstructor<Histogram> for $name {
            fn new_metric(&self) -> Histogram {
                Histogram::new($buckets)
            }
        }
    };
}

buckets!(Durations, DURATION_BUCKETS);
buckets!(Seats, SEAT_BUCKETS);
buckets!(Lengths, LENGTH_BUCKETS);
buckets!(WatchCounts, WATCH_BUCKETS);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    phase: &'static str,
    request_kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SchemaLabels {
    flow_schema: Arc<str>,
    priority_level: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectionLabels {
    flow_schema: Arc<str>,
    priority_level: Arc<str>,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WaitLabels {
    execute: &'static str,
    flow_schema: Arc<str>,
    priority_level: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExecutionLabels {
    flow_schema: Arc<str>,
    priority_level: Arc<str>,
    r#type: &'static str,
}

/// Why a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    QueueFull,
    ConcurrencyLimit,
    TimeOut,
    Cancelled,
}

const REASONS: [&str; 4] = ["queue-full", "concurrency-limit", "time-out", "cancelled"];

/// The numbers of one schema's reads, writes or watches.
#[derive(Debug)]
pub struct Tally {
    /// The schema.
    pub name: Arc<str>,
    dispatched: Counter,
    rejected: [Counter; REASONS.len()],
    waiting: Gauge,
    waiting_seats: Gauge,
    executing: Gauge,
    executing_seats: Gauge,
    waited: Histogram,
    waited_in_vain: Histogram,
    executions: Histogram,
    widths: Histogram,
    lengths: Histogram,
    watchers: Histogram,
    too_wide: Counter,
    lane_waiting: TimingHistogram,
    lane_executing: TimingHistogram,
}

/// One schema's numbers, told apart as metrics do.
pub struct Tallies {
    reads: Arc<Tally>,
    writes: Arc<Tally>,
    /// What watches take until they have begun.
    watches: Arc<Tally>,
}

impl Tallies {
    pub fn new(schema: &Arc<str>, level: &Arc<str>) -> Self {
        let tally = |kind, lane| Arc::new(Tally::new(schema, level, kind, lane));
        Self { reads: tally("regular", READS), writes: tally("regular", WRITES), watches: tally("watch", READS) }
    }

    pub fn of(&self, info: &RequestInfo) -> &Arc<Tally> {
        match &*info.verb {
            "watch" => &self.watches,
            "get" | "list" => &self.reads,
            _ => &self.writes,
        }
    }
}

impl Tally {
    fn new(schema: &Arc<str>, level: &Arc<str>, kind: &'static str, request_kind: &'static str) -> Self {
        let m = &*METRICS;
        let labels = SchemaLabels { flow_schema: schema.clone(), priority_level: level.clone() };
        let (flow_schema, priority_level) = (|| schema.clone(), || level.clone());
        let rejected = |reason| {
            let (flow_schema, priority_level) = (flow_schema(), priority_level());
            m.rejected.get_or_create_owned(&RejectionLabels { flow_schema, priority_level, reason })
        };
        let waits = |execute| {
            let (flow_schema, priority_level) = (flow_schema(), priority_level());
            m.waits.get_or_create_owned(&WaitLabels { execute, flow_schema, priority_level })
        };
        let execution = ExecutionLabels { flow_schema: flow_schema(), priority_level: priority_level(), r#type: kind };
        Self {
            name: schema.clone(),
            dispatched: m.dispatched.get_or_create_owned(&labels),
            rejected: REASONS.map(rejected),
            waiting: m.waiting.get_or_create_owned(&labels),
            waiting_seats: m.waiting_seats.get_or_create_owned(&labels),
            executing: m.executing.get_or_create_owned(&labels),
            executing_seats: m.executing_seats.get_or_create_owned(&labels),
            waited: waits("true"),
            waited_in_vain: waits("false"),
            executions: m.executions.get_or_create_owned(&execution),
            widths: m.widths.get_or_create_owned(&labels),
            lengths: m.lengths.get_or_create_owned(&labels),
            watchers: m.watchers.get_or_create_owned(&labels),
            too_wide: m.too_wide.get_or_create_owned(&labels),
            lane_waiting: m.lanes.get_or_create_owned(&LaneLabels { phase: WAITING, request_kind }),
            lane_executing: m.lanes.get_or_create_owned(&LaneLabels { phase: EXECUTING, request_kind }),
        }
    }

    pub fn estimated(&self, seats: usize) {
        self.widths.observe(seats as f64);
    }

    /// So many watch what it writes.
    pub fn watched(&self, watchers: usize) {
        self.watchers.observe(watchers as f64);
    }

    /// It was its turn, and there were not seats enough.
    pub fn too_wide(&self) {
        self.too_wide.inc();
    }

    /// `length`: of the queue, with this request.
    pub fn queued(&self, seats: usize, length: usize, now: Instant) {
        self.lane_waiting.add(1, now);
        self.waiting.inc();
        self.waiting_seats.inc_by(seats as i64);
        self.lengths.observe(length as f64);
    }

    pub fn left_queue(&self, seats: usize) {
        self.lane_waiting.add(-1, Instant::now());
        self.waiting.dec();
        self.waiting_seats.dec_by(seats as i64);
    }

    pub fn rejected(&self, why: Rejection, waited: Duration) {
        self.rejected[why as usize].inc();
        self.waited_in_vain.observe(waited.as_secs_f64());
    }

    pub fn dispatched(&self, seats: usize, waited: Duration, now: Instant) {
        self.lane_executing.add(1, now);
        self.dispatched.inc();
        self.waited.observe(waited.as_secs_f64());
        self.executing.inc();
        self.executing_seats.inc_by(seats as i64);
    }

    pub fn done(&self, seats: usize, took: Duration, now: Instant) {
        self.lane_executing.add(-1, now);
        self.executing.dec();
        self.executing_seats.dec_by(seats as i64);
        self.executions.observe(took.as_secs_f64());
    }
}

/// As many requests as all levels together may serve, and keep waiting.
pub fn set_room(executing: usize, waiting: usize) {
    for request_kind in [READS, WRITES] {
        METRICS.lanes.get_or_create(&LaneLabels { phase: EXECUTING, request_kind }).of(executing);
        METRICS.lanes.get_or_create(&LaneLabels { phase: WAITING, request_kind }).of(waiting);
    }
}

fn name(rest: &str) -> String {
    format!("apiserver_flowcontrol_{rest}")
}

pub fn register(r: &mut Registry) {
    let m = &*METRICS;
    r.register(name("dispatched_requests"), "Requests whose turn it was", m.dispatched.clone());
    r.register(name("rejected_requests"), "Requests turned away", m.rejected.clone());
    r.register(name("current_inqueue_requests"), "Requests that wait", m.waiting.clone());
    r.register(name("current_inqueue_seats"), "Seats they wait for", m.waiting_seats.clone());
    r.register(name("current_executing_requests"), "Requests being served", m.executing.clone());
    r.register(name("current_executing_seats"), "Seats taken", m.executing_seats.clone());
    r.register(name("request_wait_duration_seconds"), "Time in a queue", m.waits.clone());
    r.register(name("request_execution_seconds"), "Time on a seat", m.executions.clone());
    r.register(name("work_estimated_seats"), "Seats a request takes", m.widths.clone());
    r.register(name("request_queue_length_after_enqueue"), "Length of a queue with a newcomer", m.lengths.clone());
    r.register(name("watch_count_samples"), "Watches that a write has to tell", m.watchers.clone());
    let too_wide = "Turns that passed for want of seats";
    r.register(name("request_dispatch_no_accommodation"), too_wide, m.too_wide.clone());
    let lanes = "Nanoseconds by share of the requests that may be served, or wait";
    r.register(name("read_vs_write_current_requests"), lanes, m.lanes.clone());
    levels::register(r);
}
