//! Amounts of resources as the scheduler adds and compares them: whole numbers, one unit per name.

use std::collections::BTreeMap;

use orlop_api::quantity::Quantity;
use orlop_api::typed::k8s_openapi::api::core::v1::{Container, PodSpec};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::api::resource::Quantity as QuantityText;

/// What a container without a request is taken to use when nodes are scored (upstream's defaults).
pub const DEFAULT_MILLI_CPU: i64 = 100;
pub const DEFAULT_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// A list of resources, as one object or the sum of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub milli_cpu: i64,
    pub memory_bytes: i64,
    pub ephemeral_storage_bytes: i64,
    /// Extended resources and huge pages.
    pub others: BTreeMap<String, i64>,
}

type List = BTreeMap<String, QuantityText>;

impl Amounts {
    /// Reads a `ResourceList`. What is no quantity counts as nothing: validation keeps it out.
    pub fn of(list: &List) -> Self {
        let mut amounts = Self::default();
        for (name, text) in list {
            let Ok(quantity) = Quantity::parse(&text.0) else { continue };
            match name.as_str() {
                "cpu" => amounts.milli_cpu = quantity.milli_value(),
                "memory" => amounts.memory_bytes = quantity.value(),
                "ephemeral-storage" => amounts.ephemeral_storage_bytes = quantity.value(),
                "pods" => {}
                other => {
                    amounts.others.insert(other.to_owned(), quantity.value());
                }
            }
        }
        amounts
    }

    pub fn add(&mut self, more: &Self) {
        self.combine(more, i64::saturating_add);
    }

    pub fn subtract(&mut self, less: &Self) {
        self.combine(less, i64::saturating_sub);
    }

    /// The larger of both, name by name.
    pub fn raise(&mut self, floor: &Self) {
        self.combine(floor, i64::max);
    }

    pub fn is_zero(&self) -> bool {
        self.milli_cpu == 0 && self.memory_bytes == 0 && self.ephemeral_storage_bytes == 0 && self.others.is_empty()
    }

    fn combine(&mut self, other: &Self, with: impl Fn(i64, i64) -> i64) {
        self.milli_cpu = with(self.milli_cpu, other.milli_cpu);
        self.memory_bytes = with(self.memory_bytes, other.memory_bytes);
        self.ephemeral_storage_bytes = with(self.ephemeral_storage_bytes, other.ephemeral_storage_bytes);
        for (name, amount) in &other.others {
            let mine = self.others.entry(name.clone()).or_default();
            *mine = with(*mine, *amount);
        }
    }
}

/// What a pod asks of its node: the larger of what runs for good and what initialization needs, or
/// the pod-level value, plus overhead (KEP-753, KEP-2837).
pub fn pod_request(spec: &PodSpec) -> Amounts {
    request_by(spec, |container| requests(container).map(Amounts::of).unwrap_or_default())
}

/// The same for scoring: containers that ask for no CPU or memory count as if they asked for a little.
pub fn pod_request_for_scoring(spec: &PodSpec) -> Amounts {
    request_by(spec, |container| {
        let list = requests(container);
        let mut amounts = list.map(Amounts::of).unwrap_or_default();
        let asks_for = |name| list.is_some_and(|l| l.contains_key(name));
        if !asks_for("cpu") {
            amounts.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if !asks_for("memory") {
            amounts.memory_bytes = DEFAULT_MEMORY_BYTES;
        }
        amounts
    })
}

fn requests(container: &Container) -> Option<&List> {
    container.resources.as_ref()?.requests.as_ref()
}

fn request_by(spec: &PodSpec, of: impl Fn(&Container) -> Amounts) -> Amounts {
    let mut total = Amounts::default();
    for container in &spec.containers {
        total.add(&of(container));
    }
    let (mut sidecars, mut peak) = (Amounts::default(), Amounts::default());
    for container in spec.init_containers.iter().flatten() {
        let own = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            total.add(&own);
            sidecars.add(&own);
            peak.raise(&sidecars);
        } else {
            let mut both = sidecars.clone();
            both.add(&own);
            peak.raise(&both);
        }
    }
    total.raise(&peak);
    if let Some(list) = spec.resources.as_ref().and_then(|r| r.requests.as_ref()) {
        overlay(&mut total, list);
    }
    if let Some(overhead) = &spec.overhead {
        total.add(&Amounts::of(overhead));
    }
    total
}

/// Pod-level values replace the sum for the resources they may name.
fn overlay(total: &mut Amounts, list: &List) {
    let level = Amounts::of(list);
    if list.contains_key("cpu") {
        total.milli_cpu = level.milli_cpu;
    }
    if list.contains_key("memory") {
        total.memory_bytes = level.memory_bytes;
    }
    total.others.extend(level.others.into_iter().filter(|(name, _)| name.starts_with("hugepages-")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod;

    #[test]
    fn init_containers_are_a_peak_sidecars_a_sum() {
        let pod = pod(serde_json::json!({"spec": {
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "100m", "memory": "64Mi", "x.com/gpu": "2"}}},
                           {"name": "b", "resources": {"requests": {"cpu": "200m"}}}],
            "initContainers": [{"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
                               {"name": "i", "resources": {"requests": {"cpu": "2", "memory": "1Mi"}}}],
            "overhead": {"cpu": "10m"}}}));
        let spec = pod.spec.as_ref().unwrap();
        let request = pod_request(spec);
        assert_eq!((request.milli_cpu, request.memory_bytes), (2060, 64 << 20));
        assert_eq!(request.others, [("x.com/gpu".to_owned(), 2)].into());
        assert_eq!(pod_request_for_scoring(spec).memory_bytes, (64 << 20) + 2 * DEFAULT_MEMORY_BYTES);
    }
}
