//! Seats of levels: what they have, want and use. Set as they are asked for.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{EXECUTING, WAITING, name};
use crate::flow::borrow::Wish;
use crate::flow::level::Figures;
use crate::flow::timing::{TimingHistogram, Timings};
use crate::flow::usage::{REQUEST_BOUNDS, SEAT_BOUNDS, WANTED_BOUNDS};

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);

type Seats = Family<LevelLabels, Gauge>;
type Number = Gauge<f64, AtomicU64>;

struct Metrics {
    nominal: Seats,
    lower: Seats,
    upper: Seats,
    current: Seats,
    most_wanted: Seats,
    average: Family<LevelLabels, Number>,
    deviation: Family<LevelLabels, Number>,
    smoothed: Family<LevelLabels, Number>,
    target: Family<LevelLabels, Number>,
    fair_share: Number,
    wanted: Family<LevelLabels, TimingHistogram, Timings>,
    seats: Family<PhaseLabels, TimingHistogram, Timings>,
    requests: Family<PhaseLabels, TimingHistogram, Timings>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            nominal: Family::default(),
            lower: Family::default(),
            upper: Family::default(),
            current: Family::default(),
            most_wanted: Family::default(),
            average: Family::default(),
            deviation: Family::default(),
            smoothed: Family::default(),
            target: Family::default(),
            fair_share: Gauge::default(),
            wanted: Family::new_with_constructor(Timings(WANTED_BOUNDS)),
            seats: Family::new_with_constructor(Timings(SEAT_BOUNDS)),
            requests: Family::new_with_constructor(Timings(REQUEST_BOUNDS)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabels {
    priority_level: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    phase: &'static str,
    priority_level: Arc<str>,
}

pub fn set(levels: Vec<Figures>) {
    for figures in levels {
        let labels = LevelLabels { priority_level: figures.name.clone() };
        let seats = [
            (&METRICS.nominal, figures.nominal),
            (&METRICS.lower, figures.min),
            (&METRICS.upper, figures.max),
            (&METRICS.current, figures.limit),
            (&METRICS.most_wanted, figures.demand.most),
        ];
        for (gauges, seats) in seats {
            gauges.get_or_create(&labels).set(seats as i64);
        }
        METRICS.average.get_or_create(&labels).set(figures.demand.average);
        METRICS.deviation.get_or_create(&labels).set(figures.demand.deviation);
        METRICS.smoothed.get_or_create(&labels).set(figures.demand.smoothed);
        METRICS.wanted.get_or_create(&labels).show(figures.usage.wanted);
        let phase = |phase| PhaseLabels { phase, priority_level: figures.name.clone() };
        METRICS.seats.get_or_create(&phase(EXECUTING)).show(figures.usage.seats);
        METRICS.requests.get_or_create(&phase(EXECUTING)).show(figures.usage.executing);
        METRICS.requests.get_or_create(&phase(WAITING)).show(figures.usage.waiting);
    }
}

/// What levels would get next.
pub fn set_wishes((wishes, proportion): &(Vec<Wish>, f64)) {
    for wish in wishes {
        let labels = LevelLabels { priority_level: wish.name.clone() };
        METRICS.target.get_or_create(&labels).set(wish.target);
    }
    METRICS.fair_share.set(*proportion);
}

pub fn register(r: &mut Registry) {
    let m = &*METRICS;
    r.register(name("nominal_limit_seats"), "Seats of a priority level", m.nominal.clone());
    r.register(name("lower_limit_seats"), "Seats it keeps", m.lower.clone());
    r.register(name("upper_limit_seats"), "Seats it may have", m.upper.clone());
    r.register(name("current_limit_seats"), "Seats it has now", m.current.clone());
    let last = |what: &str| format!("{what}, in the last ten seconds that are over");
    r.register(name("demand_seats_high_watermark"), last("Most seats it wanted at once"), m.most_wanted.clone());
    r.register(name("demand_seats_average"), last("Seats it wanted on average"), m.average.clone());
    r.register(name("demand_seats_stdev"), last("Standard deviation of the seats it wanted"), m.deviation.clone());
    r.register(name("demand_seats_smoothed"), "Seats it lately wanted, going down slowly", m.smoothed.clone());
    r.register(name("target_seats"), "Seats meant for it", m.target.clone());
    r.register(name("seat_fair_frac"), "Share of those that all levels can get", m.fair_share.clone());
    let time = |what: &str| format!("Nanoseconds by {what}");
    r.register(name("demand_seats"), time("seats wanted per seat there was"), m.wanted.clone());
    r.register(name("priority_level_seat_utilization"), time("share of seats in use"), m.seats.clone());
    let requests = "requests served per seat, or waiting per place to wait";
    r.register(name("priority_level_request_utilization"), time(requests), m.requests.clone());
}
