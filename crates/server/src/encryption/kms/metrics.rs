//! What plugins were asked and which of their keys were used, under upstream's names
//! (`k8s.io/apiserver/pkg/storage/value/encrypt/envelope/metrics`).

use std::collections::VecDeque;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use orlop_base::clock;
use orlop_base::grpc::Failure;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::state::hash;
use crate::review::metrics::SERVER;

/// Keys that have numbers of their own; a plugin may name any number of them.
const MAX_KEYS: usize = 100;

pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);

pub struct Metrics {
    pub cache_misses: Counter,
    cache_sizes: Family<Provider, Gauge>,
    operations: Family<Operation, Histogram, Latencies>,
    invalid: Family<Invalid, Counter>,
    uses: Family<KeyUse, Counter>,
    last_uses: Family<KeyUse, Gauge>,
    used: Mutex<VecDeque<KeyUse>>,
    last_statuses: Family<Key, Gauge>,
    statuses: Mutex<VecDeque<Key>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            cache_misses: Counter::default(),
            cache_sizes: Family::default(),
            operations: Family::new_with_constructor(Latencies),
            invalid: Family::default(),
            uses: Family::default(),
            last_uses: Family::default(),
            used: Mutex::default(),
            last_statuses: Family::default(),
            statuses: Mutex::default(),
        }
    }
}

/// From a tenth of a millisecond to 52 seconds.
#[derive(Clone)]
struct Latencies;

impl MetricConstructor<Histogram> for Latencies {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.0001, 2.0, 20))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Provider {
    provider_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    grpc_status_code: String,
    method_name: &'static str,
    provider_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Invalid {
    error: &'static str,
    provider_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Key {
    apiserver_id_hash: String,
    key_id_hash: String,
    provider_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyUse {
    apiserver_id_hash: String,
    key_id_hash: String,
    provider_name: String,
    transformation_type: &'static str,
}

/// Of one key in one direction.
pub struct Usage {
    count: Counter,
    last: Gauge,
}

impl Usage {
    pub fn new(transformation_type: &'static str, provider: &str, key_id: &str) -> Self {
        let labels = KeyUse {
            apiserver_id_hash: SERVER.clone(),
            key_id_hash: hash(key_id),
            provider_name: provider.to_owned(),
            transformation_type,
        };
        let metrics = &*METRICS;
        if let Some(old) = remember(&metrics.used, labels.clone()) {
            metrics.uses.remove(&old);
            metrics.last_uses.remove(&old);
        }
        Self { count: metrics.uses.get_or_create_owned(&labels), last: metrics.last_uses.get_or_create_owned(&labels) }
    }

    pub fn note(&self) {
        self.count.inc();
        self.last.set(clock::unix_seconds());
    }
}

/// Answers what is too much.
fn remember<T: PartialEq>(known: &Mutex<VecDeque<T>>, labels: T) -> Option<T> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if !known.contains(&labels) {
        known.push_back(labels);
    }
    if known.len() > MAX_KEYS { known.pop_front() } else { None }
}

impl Metrics {
    pub fn cache_size(&self, provider: &str) -> Gauge {
        self.cache_sizes.get_or_create_owned(&Provider { provider_name: provider.to_owned() })
    }

    pub fn operation(&self, provider: &str, method_name: &'static str, failure: Option<&Failure>, took: Duration) {
        let grpc_status_code = failure.map_or_else(|| "OK".to_owned(), |failure| failure.code().to_string());
        let labels = Operation { grpc_status_code, method_name, provider_name: provider.to_owned() };
        self.operations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub fn invalid_key_id(&self, provider: &str, error: &'static str) {
        self.invalid.get_or_create(&Invalid { error, provider_name: provider.to_owned() }).inc();
    }

    pub fn status(&self, provider: &str, key_id: &str) {
        let labels =
            Key { apiserver_id_hash: SERVER.clone(), key_id_hash: hash(key_id), provider_name: provider.to_owned() };
        if let Some(old) = remember(&self.statuses, labels.clone()) {
            self.last_statuses.remove(&old);
        }
        self.last_statuses.get_or_create(&labels).set(clock::unix_seconds());
    }

    pub fn register(&self, r: &mut Registry) {
        let name = |rest: &str| format!("apiserver_envelope_encryption_{rest}");
        r.register(name("dek_source_cache_size"), "Seeds decrypted by the plugin", self.cache_sizes.clone());
        r.register(name("kms_operations_latency_seconds"), "Time of the plugin's answers", self.operations.clone());
        r.register(name("invalid_key_id_from_status"), "Bad key identifiers", self.invalid.clone());
        r.register(name("key_id_hash"), "Uses of a key", self.uses.clone());
        r.register(name("key_id_hash_last_timestamp_seconds"), "Last use of a key", self.last_uses.clone());
        r.register(
            name("key_id_hash_status_last_timestamp_seconds"),
            "When the plugin last named a key",
            self.last_statuses.clone(),
        );
        r.register(
            "apiserver_storage_envelope_transformation_cache_misses",
            "Seeds that the plugin had to decrypt",
            self.cache_misses.clone(),
        );
    }
}
