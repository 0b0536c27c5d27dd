//! Which APIServices are not available, under upstream's names (`kube-aggregator/pkg/controllers/status/metrics`).

use std::sync::LazyLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::family::Count;

pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);

#[derive(Default)]
pub struct Metrics {
    unavailable: Family<Name, Gauge>,
    losses: Family<Loss, Count>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Loss {
    name: String,
    reason: &'static str,
}

impl Metrics {
    pub fn stands(&self, name: &str, available: bool) {
        self.unavailable.get_or_create(&Name { name: name.to_owned() }).set(i64::from(!available));
    }

    pub fn forget_all(&self) {
        self.unavailable.clear();
    }

    pub fn gone(&self, name: &str) {
        self.unavailable.remove(&Name { name: name.to_owned() });
    }

    /// One that was available is not any more.
    pub fn lost(&self, name: &str, reason: &'static str) {
        self.losses.get_or_create(&Loss { name: name.to_owned(), reason }).inc();
    }
}

pub fn register(r: &mut Registry) {
    let m = &*METRICS;
    r.register("aggregator_unavailable_apiservice", "Whether an APIService is unavailable", m.unavailable.clone());
    // Two families cannot have one name, which they would if the encoder added the `_total`.
    r.register("aggregator_unavailable_apiservice_total", "APIServices that became unavailable", m.losses.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_counted_under_upstreams_name() {
        METRICS.lost("v1.lost.example.com", "ServiceNotFound");
        METRICS.stands("v1.lost.example.com", false);
        let mut registry = Registry::default();
        register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encoded");
        let labels = "{name=\"v1.lost.example.com\"";
        for line in [
            "# TYPE aggregator_unavailable_apiservice_total counter\n".to_owned(),
            format!("aggregator_unavailable_apiservice_total{labels},reason=\"ServiceNotFound\"}} 1\n"),
            format!("aggregator_unavailable_apiservice{labels}}} 1\n"),
        ] {
            assert!(text.contains(&line), "{text}");
        }
    }
}
