//! How full the ranges are and what is drawn from them, under upstream's names
//! (`pkg/registry/core/service/ipallocator/metrics.go`).

use std::sync::LazyLock;
use std::time::Instant;

use orlop_api::cidr::Cidr;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::ip_pool::Usage;
use crate::metrics::family::{Durations, durations};

/// Prometheus' own.
const BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    allocated: Family::default(),
    available: Family::default(),
    allocations: Family::default(),
    errors: Family::default(),
    durations: durations(BUCKETS),
});

pub struct Metrics {
    allocated: Family<Of, Gauge>,
    available: Family<Of, Gauge>,
    allocations: Family<Scoped, Counter>,
    errors: Family<Scoped, Counter>,
    durations: Durations<Of>,
}

/// Whether the user named the address.
#[derive(Clone, Copy, Debug)]
pub enum Scope {
    Static,
    Dynamic,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    cidr: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Scoped {
    cidr: String,
    scope: &'static str,
}

impl Scoped {
    fn new(range: Cidr, scope: Scope) -> Self {
        let scope = match scope {
            Scope::Static => "static",
            Scope::Dynamic => "dynamic",
        };
        Self { cidr: range.to_string(), scope }
    }
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let name = |of: &str| format!("kube_apiserver_clusterip_allocator_{of}");
        registry.register(name("allocated_ips"), "Addresses that Services have", self.allocated.clone());
        registry.register(name("available_ips"), "Addresses that Services could have", self.available.clone());
        registry.register(name("allocation"), "Addresses drawn", self.allocations.clone());
        registry.register(name("allocation_errors"), "Addresses that could not be drawn", self.errors.clone());
        registry.register(name("allocation_duration_seconds"), "Time to draw an address", self.durations.clone());
    }

    pub fn drawn(&self, range: Cidr, scope: Scope, since: Instant) {
        self.allocations.get_or_create(&Scoped::new(range, scope)).inc();
        self.durations.get_or_create(&Of { cidr: range.to_string() }).observe(since.elapsed().as_secs_f64());
    }

    pub fn failed(&self, range: Cidr, scope: Scope) {
        self.errors.get_or_create(&Scoped::new(range, scope)).inc();
    }

    /// How full the ranges are that there are now.
    pub fn set_usage(&self, usage: impl Iterator<Item = Usage>) {
        self.allocated.clear();
        self.available.clear();
        let number = |n: u128| i64::try_from(n).unwrap_or(i64::MAX);
        for Usage { range, allocated, available } in usage {
            let of = Of { cidr: range.to_string() };
            self.allocated.get_or_create(&of).set(number(allocated));
            self.available.get_or_create(&of).set(number(available));
        }
    }
}
