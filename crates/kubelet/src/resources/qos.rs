//! The QoS class of a pod (`pkg/apis/core/v1/helper/qos`).

use super::requests::has_pod_level;
use super::{Amount, CPU, MEMORY};
use crate::corev1::{PodSpec, ResourceRequirements};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QosClass {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl QosClass {
    pub const ALL: [Self; 3] = [Self::Guaranteed, Self::Burstable, Self::BestEffort];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

pub fn qos_class(spec: &PodSpec) -> QosClass {
    if has_pod_level(spec) {
        return of_requirements(spec.resources.as_ref());
    }
    let mut classes =
        spec.init_containers.iter().flatten().chain(&spec.containers).map(|c| of_requirements(c.resources.as_ref()));
    let Some(first) = classes.next() else { return QosClass::BestEffort };
    if classes.all(|class| class == first) { first } else { QosClass::Burstable }
}

fn of_requirements(resources: Option<&ResourceRequirements>) -> QosClass {
    let of = |name| {
        let request = Amount::of(resources.and_then(|r| r.requests.as_ref()), name);
        let limit = Amount::of(resources.and_then(|r| r.limits.as_ref()), name);
        match (request == limit, request.is_zero()) {
            (false, _) => QosClass::Burstable,
            (true, true) => QosClass::BestEffort,
            (true, false) => QosClass::Guaranteed,
        }
    };
    let (cpu, memory) = (of(CPU), of(MEMORY));
    if cpu == memory { cpu } else { QosClass::Burstable }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::pod;

    #[test]
    fn classes() {
        let guaranteed =
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}});
        for (containers, class) in [
            (json!([{"name": "a"}]), QosClass::BestEffort),
            (json!([{"name": "a", "resources": guaranteed}]), QosClass::Guaranteed),
            (json!([{"name": "a", "resources": guaranteed}, {"name": "b"}]), QosClass::Burstable),
            (json!([{"name": "a", "resources": {"requests": {"cpu": "1"}}}]), QosClass::Burstable),
            (
                json!([{"name": "a", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}}]),
                QosClass::Burstable,
            ),
            (json!([{"name": "a", "resources": {"requests": {"example.com/gpu": "1"}}}]), QosClass::BestEffort),
        ] {
            let pod = pod(json!({"containers": containers}));
            assert_eq!(qos_class(pod.spec()), class, "{containers}");
        }
    }
}
