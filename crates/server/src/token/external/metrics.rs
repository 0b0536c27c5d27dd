//! What the external signer was asked, under upstream's names (`pkg/serviceaccount/externaljwt/metrics`).

use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use orlop_base::clock;
use orlop_base::grpc::Failure;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::ExternalError;
use crate::metrics::family::{Counts, Durations, durations};

const BUCKETS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    fetches: Counts::default(),
    fetched: Gauge::default(),
    dated: Gauge::default(),
    signatures: Counts::default(),
    calls: durations(BUCKETS),
});

pub struct Metrics {
    fetches: Counts<CodeLabel>,
    fetched: Gauge,
    /// What the signer says of when its keys are from.
    dated: Gauge<f64, AtomicU64>,
    signatures: Counts<CodeLabel>,
    calls: Durations<CallLabels>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    code: String,
}

fn code(error: Option<&ExternalError>) -> CodeLabel {
    let code = match error {
        None => "OK".to_owned(),
        Some(ExternalError::Call { source, .. }) => source.code().to_string(),
        Some(ExternalError::Wrong(_)) => "unknown-non-grpc".to_owned(),
    };
    CodeLabel { code }
}

impl Metrics {
    pub fn call(&self, method: &'static str, failure: Option<&Failure>, took: Duration) {
        let code = failure.map_or_else(|| "OK".to_owned(), |failure| failure.code().to_string());
        self.calls.get_or_create(&CallLabels { method, code }).observe(took.as_secs_f64());
    }

    pub fn signed(&self, error: Option<&ExternalError>) {
        self.signatures.get_or_create(&code(error)).inc();
    }

    pub fn fetched(&self, error: Option<&ExternalError>) {
        self.fetches.get_or_create(&code(error)).inc();
        if error.is_none() {
            self.fetched.set(clock::unix_seconds());
        }
    }

    pub fn dated(&self, (seconds, nanos): (i64, i64)) {
        self.dated.set(seconds as f64 + nanos as f64 / 1e9);
    }
}

pub fn register(r: &mut Registry) {
    let m = &*METRICS;
    let name = |rest: &str| format!("apiserver_externaljwt_{rest}");
    r.register(name("fetch_keys_success_timestamp"), "When keys were last fetched", m.fetched.clone());
    r.register(name("fetch_keys_data_timestamp"), "When these keys are from", m.dated.clone());
    r.register(name("fetch_keys_request"), "Attempts to fetch keys", m.fetches.clone());
    r.register(name("sign_request"), "Attempts to have a token signed", m.signatures.clone());
    r.register(name("request_duration_seconds"), "Time of the signer's answers", m.calls.clone());
}
