//! What several parts of the server measure in the same way.

use std::fmt;
use std::hash::Hash;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds of a histogram, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Buckets(pub &'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

pub type Durations<L> = Family<L, Histogram, Buckets>;

pub fn durations<L: Clone + Hash + Eq>(bounds: &'static [f64]) -> Durations<L> {
    Family::new_with_constructor(Buckets(bounds))
}

/// Fifteen bounds, each twice the one before, from a millisecond on: upstream's for whatever is done on each request.
pub const FROM_A_MILLISECOND: &[f64] =
    &[0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];

/// A counter under its whole name: upstream's do not all end in `_total`, as OpenMetrics wants it and as the encoder
/// makes it. Prometheus takes such counters.
#[derive(Clone, Debug, Default)]
pub struct Count(Counter);

impl Count {
    pub fn inc(&self) {
        self.0.inc();
    }
}

impl TypedMetric for Count {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Count {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.encode_gauge(&(self.0.get() as i64))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

pub type Counts<L> = Family<L, Counter>;

/// Labels that are one text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    pub result: &'static str,
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn counters_keep_their_names() {
        let mut registry = Registry::default();
        let count = Count::default();
        count.inc();
        registry.register("authentication_attempts", "Attempts", count);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encoded");
        assert!(text.ends_with("# TYPE authentication_attempts counter\nauthentication_attempts 1\n# EOF\n"), "{text}");
    }
}
