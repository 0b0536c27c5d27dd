//! What the agent counts, under upstream's names (`pkg/kubelet/metrics`).

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ContainerType {
    pub container_type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ProbeLabels {
    pub probe_type: &'static str,
    pub result: &'static str,
    pub container: String,
    pub pod: String,
    pub namespace: String,
    pub pod_uid: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Signal {
    pub eviction_signal: String,
}

/// All counters; cheap to bump.
pub struct Metrics {
    pub started_pods: Counter<u64, AtomicU64>,
    pub started_pods_errors: Counter<u64, AtomicU64>,
    pub started_containers: Family<ContainerType, Counter>,
    pub started_containers_errors: Family<ContainerType, Counter>,
    pub evictions: Family<Signal, Counter>,
    pub pod_start_seconds: Histogram,
    pub image_pull_seconds: Histogram,
    pub probes: Family<ProbeLabels, Counter>,
    own: Registry,
    probe: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0];
        let mut metrics = Self {
            started_pods: Counter::default(),
            started_pods_errors: Counter::default(),
            started_containers: Family::default(),
            started_containers_errors: Family::default(),
            evictions: Family::default(),
            pod_start_seconds: Histogram::new(buckets),
            image_pull_seconds: Histogram::new(buckets),
            probes: Family::default(),
            own: Registry::with_prefix("kubelet"),
            probe: Registry::with_prefix("prober"),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let own = &mut self.own;
        own.register("started_pods", "Pods whose sandbox was made", self.started_pods.clone());
        own.register("started_pods_errors", "Sandboxes that could not be made", self.started_pods_errors.clone());
        own.register("started_containers", "Containers started", self.started_containers.clone());
        own.register(
            "started_containers_errors",
            "Containers that did not start",
            self.started_containers_errors.clone(),
        );
        own.register("evictions", "Pods evicted, by signal", self.evictions.clone());
        own.register(
            "pod_start_duration_seconds",
            "From first sight of a pod to its running",
            self.pod_start_seconds.clone(),
        );
        own.register("image_pull_duration_seconds", "Image pulls", self.image_pull_seconds.clone());
        self.probe.register("probe", "Probes by result", self.probes.clone());
    }

    pub fn own(&self) -> String {
        encode(&self.own)
    }

    pub fn probes(&self) -> String {
        encode(&self.probe)
    }
}

fn encode(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, registry);
    text.truncate(text.trim_end_matches("# EOF\n").len());
    text
}
