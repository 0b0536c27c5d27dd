//! What became of requests, by FlowSchema and priority level, under upstream's names (`flowcontrol/metrics`).
//!
//! A schema has its numbers ready: counting a request looks nothing up.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::borrow::Wish;
use super::level::Figures;

const DURATION_BUCKETS: [f64; 13] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
const SEAT_BUCKETS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];
const LENGTH_BUCKETS: [f64; 8] = [0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];

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
    nominal: Family<LevelLabels, Gauge>,
    lower: Family<LevelLabels, Gauge>,
    upper: Family<LevelLabels, Gauge>,
    current: Family<LevelLabels, Gauge>,
    demand: Family<LevelLabels, Gauge>,
    target: Family<LevelLabels, Gauge<f64, AtomicU64>>,
    fair_share: Gauge<f64, AtomicU64>,
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
            nominal: Family::default(),
            lower: Family::default(),
            upper: Family::default(),
            current: Family::default(),
            demand: Family::default(),
            target: Family::default(),
            fair_share: Gauge::default(),
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabels {
    priority_level: Arc<str>,
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

/// The numbers of one schema's requests, watches apart.
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
}

impl Tally {
    /// Of requests, and of what watches take until they have begun.
    pub fn both(schema: &Arc<str>, level: &Arc<str>) -> [Arc<Self>; 2] {
        ["regular", "watch"].map(|kind| Arc::new(Self::new(schema, level, kind)))
    }

    fn new(schema: &Arc<str>, level: &Arc<str>, kind: &'static str) -> Self {
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
        }
    }

    pub fn estimated(&self, seats: usize) {
        self.widths.observe(seats as f64);
    }

    /// `length`: of the queue, with this request.
    pub fn queued(&self, seats: usize, length: usize) {
        self.waiting.inc();
        self.waiting_seats.inc_by(seats as i64);
        self.lengths.observe(length as f64);
    }

    pub fn left_queue(&self, seats: usize) {
        self.waiting.dec();
        self.waiting_seats.dec_by(seats as i64);
    }

    pub fn rejected(&self, why: Rejection, waited: Duration) {
        self.rejected[why as usize].inc();
        self.waited_in_vain.observe(waited.as_secs_f64());
    }

    pub fn dispatched(&self, seats: usize, waited: Duration) {
        self.dispatched.inc();
        self.waited.observe(waited.as_secs_f64());
        self.executing.inc();
        self.executing_seats.inc_by(seats as i64);
    }

    pub fn done(&self, seats: usize, took: Duration) {
        self.executing.dec();
        self.executing_seats.dec_by(seats as i64);
        self.executions.observe(took.as_secs_f64());
    }
}

/// Seats that levels have now.
pub fn set_levels(levels: &[Figures]) {
    for figures in levels {
        let labels = LevelLabels { priority_level: figures.name.clone() };
        let seats = [
            (&METRICS.nominal, figures.nominal),
            (&METRICS.lower, figures.min),
            (&METRICS.upper, figures.max),
            (&METRICS.current, figures.limit),
        ];
        for (gauges, seats) in seats {
            gauges.get_or_create(&labels).set(seats as i64);
        }
    }
}

/// What levels want.
pub fn set_wishes((wishes, proportion): &(Vec<Wish>, f64)) {
    for wish in wishes {
        let labels = LevelLabels { priority_level: wish.name.clone() };
        METRICS.demand.get_or_create(&labels).set(wish.demand as i64);
        METRICS.target.get_or_create(&labels).set(wish.target);
    }
    METRICS.fair_share.set(*proportion);
}

pub fn register(r: &mut Registry) {
    let m = &*METRICS;
    let name = |rest: &str| format!("apiserver_flowcontrol_{rest}");
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
    r.register(name("nominal_limit_seats"), "Seats of a priority level", m.nominal.clone());
    r.register(name("lower_limit_seats"), "Seats it keeps", m.lower.clone());
    r.register(name("upper_limit_seats"), "Seats it may have", m.upper.clone());
    r.register(name("current_limit_seats"), "Seats it has now", m.current.clone());
    r.register(name("demand_seats_high_watermark"), "Most seats that it lately wanted at once", m.demand.clone());
    r.register(name("target_seats"), "Seats meant for it", m.target.clone());
    r.register(name("seat_fair_frac"), "Share of those that all levels can get", m.fair_share.clone());
}
