//! What sealing and opening cost, under upstream's names (`k8s.io/apiserver/pkg/storage/value/metrics.go`).

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use orlop_api::status::GroupResource;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::provider::Refusal;
use crate::metrics::family::{Counts, Durations, durations};

/// Twenty-five bounds, each twice the one before, from five microseconds on.
const BUCKETS: &[f64] = &[
    0.000_005, 0.000_01, 0.000_02, 0.000_04, 0.000_08, 0.000_16, 0.000_32, 0.000_64, 0.001_28, 0.002_56, 0.005_12,
    0.010_24, 0.020_48, 0.040_96, 0.081_92, 0.163_84, 0.327_68, 0.655_36, 1.310_72, 2.621_44, 5.242_88, 10.485_76,
    20.971_52, 41.943_04, 83.886_08,
];

pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    operations: Counts::default(),
    durations: durations(BUCKETS),
    key_durations: Histogram::new(exponential_buckets(5e-6, 2.0, 14)),
    key_failures: Counter::default(),
});

pub struct Metrics {
    operations: Counts<Operation>,
    durations: Durations<Transformation>,
    key_durations: Histogram,
    /// Stays at none: the kernel always has random bytes.
    key_failures: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    resource: String,
    transformation_type: &'static str,
    transformer_prefix: String,
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transformation {
    transformation_type: &'static str,
    transformer_prefix: String,
}

/// Which way an object goes, and of what resource it is.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    resource: &'a str,
    transformation_type: &'static str,
}

impl<'a> Way<'a> {
    /// Of a storage key.
    pub fn to_storage(resource: &'a str) -> Self {
        Self { resource, transformation_type: "to_storage" }
    }

    /// Of a storage key.
    pub fn from_storage(resource: &'a str) -> Self {
        Self { resource, transformation_type: "from_storage" }
    }

    /// One transformation, by whoever has this prefix.
    pub fn measured<T>(self, prefix: &str, work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
        let begun = Instant::now();
        let result = work();
        self.note(prefix, result.as_ref().err(), begun.elapsed());
        result
    }

    /// One that cannot fail.
    pub fn timed<T>(self, prefix: &str, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = work();
        self.note(prefix, None, begun.elapsed());
        result
    }

    pub fn refused(self, prefix: &str, refusal: &Refusal) {
        self.note(prefix, Some(refusal), Duration::ZERO);
    }

    fn note(self, prefix: &str, refusal: Option<&Refusal>, took: Duration) {
        let Self { resource, transformation_type } = self;
        let status = match refusal {
            None => "OK".to_owned(),
            Some(Refusal { code: Some(code), .. }) => code.to_string(),
            Some(_) => "unknown-non-grpc".to_owned(),
        };
        let (resource, transformer_prefix) = (label(resource), prefix.to_owned());
        if refusal.is_none() {
            let labels = Transformation { transformation_type, transformer_prefix: transformer_prefix.clone() };
            METRICS.durations.get_or_create(&labels).observe(took.as_secs_f64());
        }
        METRICS
            .operations
            .get_or_create(&Operation { resource, transformation_type, transformer_prefix, status })
            .inc();
    }
}

/// `deployments.apps` of `apps/deployments`.
fn label(resource: &str) -> String {
    let (group, resource) = resource.split_once('/').unwrap_or(("", resource));
    GroupResource { group, resource }.to_string()
}

impl Metrics {
    pub fn key_made(&self, took: Duration) {
        self.key_durations.observe(took.as_secs_f64());
    }

    pub fn register(&self, r: &mut Registry) {
        let name = |rest: &str| format!("apiserver_storage_{rest}");
        r.register(name("transformation_operations"), "Objects sealed and opened", self.operations.clone());
        r.register(name("transformation_duration_seconds"), "Time to seal and open", self.durations.clone());
        r.register(name("data_key_generation_duration_seconds"), "Time to make a key", self.key_durations.clone());
        r.register(name("data_key_generation_failures"), "Keys that could not be made", self.key_failures.clone());
    }
}

#[cfg(test)]
mod tests {
    use orlop_base::grpc::Code;

    use super::*;

    #[test]
    fn transformations_are_counted_and_those_that_succeed_are_timed() {
        let way = Way::from_storage("measured.example.com/things");
        let refused = |code| Refusal { why: "no".into(), code };
        for result in [Ok(()), Err(refused(None)), Err(refused(Some(Code::UNAVAILABLE)))] {
            let _ = way.measured("k8s:enc:none:", || result);
        }
        let count = |status: &str| {
            let labels = Operation {
                resource: "things.measured.example.com".into(),
                transformation_type: "from_storage",
                transformer_prefix: "k8s:enc:none:".into(),
                status: status.into(),
            };
            METRICS.operations.get_or_create(&labels).get()
        };
        assert_eq!(["OK", "unknown-non-grpc", "Unavailable"].map(count), [1, 1, 1]);
        let mut registry = Registry::default();
        METRICS.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encoded");
        let timed = "apiserver_storage_transformation_duration_seconds_count{transformation_type=\"from_storage\",\
                     transformer_prefix=\"k8s:enc:none:\"} 1\n";
        assert!(text.contains(timed), "{text}");
        assert!(text.contains("# TYPE apiserver_storage_data_key_generation_failures counter"), "{text}");
    }
}
