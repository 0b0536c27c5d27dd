//! Histograms of time: for how long a share was how large (`component-base/metrics/prometheusextension`,
//! `flowcontrol/metrics/timing_ratio_histogram.go`).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::family::MetricConstructor;
use prometheus_client::metrics::{MetricType, TypedMetric};
use tokio::time::Instant;

/// Nanoseconds for which a number was so large a share of another; the sum is the share's integral over them.
#[derive(Clone, Debug)]
pub struct Course {
    bounds: &'static [f64],
    /// Up to each bound, and above all.
    nanos: Vec<u64>,
    sum: f64,
    number: i64,
    whole: f64,
    since: Instant,
}

impl Course {
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, nanos: vec![0; bounds.len() + 1], sum: 0.0, number: 0, whole: 1.0, since: Instant::now() }
    }

    pub fn add(&mut self, change: i64, now: Instant) {
        self.pass(now);
        self.number += change;
    }

    /// From now on it is a share of this.
    pub fn of(&mut self, whole: usize, now: Instant) {
        self.pass(now);
        self.whole = whole.max(1) as f64;
    }

    /// Clocks read by several threads may come in late; time that is counted is not counted again.
    pub fn pass(&mut self, now: Instant) {
        let nanos = now.saturating_duration_since(self.since).as_nanos() as u64;
        let share = self.number as f64 / self.whole;
        self.nanos[self.bounds.partition_point(|bound| *bound < share)] += nanos;
        self.sum += share * nanos as f64;
        self.since = self.since.max(now);
    }
}

/// A course as a metric.
#[derive(Clone, Debug)]
pub struct TimingHistogram(Arc<Mutex<Course>>);

impl TimingHistogram {
    pub fn add(&self, change: i64, now: Instant) {
        self.course().add(change, now);
    }

    pub fn of(&self, whole: usize) {
        self.course().of(whole, Instant::now());
    }

    /// Shows one that is kept elsewhere, as it is now.
    pub fn show(&self, course: Course) {
        *self.course() = course;
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TypedMetric for TimingHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for TimingHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let mut course = self.course().clone();
        course.pass(Instant::now());
        let bounds = course.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(course.nanos.iter().copied()).collect();
        encoder.encode_histogram::<NoLabelSet>(course.sum, course.nanos.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// Makes them with these bounds.
#[derive(Clone, Copy, Debug)]
pub struct Timings(pub &'static [f64]);

impl MetricConstructor<TimingHistogram> for Timings {
    fn new_metric(&self) -> TimingHistogram {
        TimingHistogram(Arc::new(Mutex::new(Course::new(self.0))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::registry::Registry;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_is_counted_by_the_share_it_had() {
        let histogram = Timings(&[0.5, 1.0]).new_metric();
        let nanos = Duration::from_nanos;
        histogram.of(4);
        tokio::time::advance(nanos(5)).await;
        histogram.add(2, Instant::now());
        tokio::time::advance(nanos(10)).await;
        histogram.add(2, Instant::now());
        histogram.add(0, Instant::now() - nanos(3));
        tokio::time::advance(nanos(20)).await;
        histogram.of(2);
        tokio::time::advance(nanos(40)).await;
        let mut registry = Registry::default();
        registry.register("x", "X", histogram);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encoded");
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let buckets = [r#"x_bucket{le="0.5"} 15"#, r#"x_bucket{le="1.0"} 35"#, r#"x_bucket{le="+Inf"} 75"#];
        assert_eq!(lines[..2], ["x_sum 105.0", "x_count 75"]);
        assert_eq!(lines[2..], buckets);
    }
}
