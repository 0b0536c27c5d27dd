//! `/metrics/slis`: how the health checks came out, for service levels
//! (`k8s.io/component-base/metrics/prometheus/slis`, KEP-3466).

use http::Response;
use orlop_client::transport::Body;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::process;

/// A check, by its name and the endpoint that asked: `healthz`, `livez` or `readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    name: String,
    r#type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    name: String,
    r#type: String,
    status: &'static str,
}

pub struct Slis {
    registry: Registry,
    last: Family<CheckLabels, Gauge>,
    outcomes: Family<OutcomeLabels, Counter>,
}

impl Slis {
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let (last, outcomes) = (Family::default(), Family::default());
        registry.register("kubernetes_healthcheck", "How a check came out last: 1 is good", Family::clone(&last));
        registry.register("kubernetes_healthchecks", "How checks came out", Family::clone(&outcomes));
        process::register_start(&mut registry);
        Self { registry, last, outcomes }
    }

    pub fn observe(&self, check: &str, endpoint: &str, passed: bool) {
        let (name, r#type) = (check.to_owned(), endpoint.to_owned());
        let status = if passed { "success" } else { "error" };
        self.outcomes.get_or_create(&OutcomeLabels { name: name.clone(), r#type: r#type.clone(), status }).inc();
        self.last.get_or_create(&CheckLabels { name, r#type }).set(i64::from(passed));
    }

    pub fn serve(&self) -> Response<Body> {
        super::exposition(&self.registry)
    }
}
