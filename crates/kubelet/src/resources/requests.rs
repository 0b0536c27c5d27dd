//! Requests and limits of a whole pod (`k8s.io/component-helpers/resource`).

use super::{Amount, CPU, HUGEPAGES_PREFIX, MEMORY, ResourceList};
use crate::corev1::{Container, PodSpec, ResourceRequirements};
use crate::pod::spec::is_sidecar;

/// Requests of the pod: the larger of what runs for good and what initialization needs, or the
/// pod-level value, plus overhead (KEP-753, KEP-2837).
pub fn pod_requests(spec: &PodSpec) -> ResourceList {
    let mut total = aggregate(spec, |r| r.requests.as_ref());
    overlay_pod_level(&mut total, spec.resources.as_ref().and_then(|r| r.requests.as_ref()));
    add(&mut total, spec.overhead.as_ref());
    total
}

/// Limits of the pod; overhead counts only where a limit stands.
pub fn pod_limits(spec: &PodSpec) -> ResourceList {
    let mut total = aggregate(spec, |r| r.limits.as_ref());
    overlay_pod_level(&mut total, spec.resources.as_ref().and_then(|r| r.limits.as_ref()));
    for (name, overhead) in spec.overhead.iter().flatten() {
        if let (Some(limit), Some(overhead)) = (Amount::find(Some(&total), name), Amount::parse(&overhead.0))
            && !limit.is_zero()
        {
            total.insert(name.clone(), (limit + overhead).to_quantity());
        }
    }
    total
}

/// Does `spec.resources` say anything that counts?
pub fn has_pod_level(spec: &PodSpec) -> bool {
    let Some(resources) = &spec.resources else { return false };
    let lists = [&resources.requests, &resources.limits];
    lists.into_iter().flatten().flat_map(|list| list.keys()).any(|name| is_pod_level_resource(name))
}

pub fn is_pod_level_resource(name: &str) -> bool {
    name == CPU || name == MEMORY || name.starts_with(HUGEPAGES_PREFIX)
}

fn aggregate(spec: &PodSpec, list: impl Fn(&ResourceRequirements) -> Option<&ResourceList>) -> ResourceList {
    let of = |c: &Container| c.resources.as_ref().and_then(|r| list(r).cloned());
    let mut total = ResourceList::new();
    for container in &spec.containers {
        add(&mut total, of(container).as_ref());
    }
    let mut sidecars = ResourceList::new();
    let mut peak = ResourceList::new();
    for container in spec.init_containers.iter().flatten() {
        let own = of(container);
        let needed = if is_sidecar(container) {
            add(&mut total, own.as_ref());
            add(&mut sidecars, own.as_ref());
            sidecars.clone()
        } else {
            let mut both = sidecars.clone();
            add(&mut both, own.as_ref());
            both
        };
        raise(&mut peak, &needed);
    }
    raise(&mut total, &peak);
    total
}

fn overlay_pod_level(total: &mut ResourceList, pod_level: Option<&ResourceList>) {
    for (name, quantity) in pod_level.into_iter().flatten() {
        if is_pod_level_resource(name) {
            total.insert(name.clone(), quantity.clone());
        }
    }
}

fn add(total: &mut ResourceList, more: Option<&ResourceList>) {
    for (name, quantity) in more.into_iter().flatten() {
        let Some(amount) = Amount::parse(&quantity.0) else { continue };
        match Amount::find(Some(total), name) {
            Some(old) => total.insert(name.clone(), (old + amount).to_quantity()),
            None => total.insert(name.clone(), quantity.clone()),
        };
    }
}

fn raise(total: &mut ResourceList, floor: &ResourceList) {
    for (name, quantity) in floor {
        let Some(amount) = Amount::parse(&quantity.0) else { continue };
        let have = Amount::find(Some(total), name);
        if have.is_none_or(|have| have < amount) {
            total.insert(name.clone(), quantity.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod;

    #[test]
    fn init_containers_count_as_a_peak_and_sidecars_as_a_sum() {
        let pod = pod(serde_json::json!({
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}},
                           {"name": "b", "resources": {"requests": {"cpu": "200m"}, "limits": {"cpu": "1"}}}],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
                {"name": "i", "resources": {"requests": {"cpu": "2", "memory": "1Mi"}}}],
            "overhead": {"cpu": "10m"},
        }));
        let requests = pod_requests(pod.spec());
        assert_eq!(Amount::of(Some(&requests), "cpu").milli_value(), 2060);
        assert_eq!(requests["memory"].0, "64Mi");
        assert_eq!(Amount::of(Some(&pod_limits(pod.spec())), "cpu").milli_value(), 1010);
    }

    #[test]
    fn pod_level_values_win() {
        let pod = pod(serde_json::json!({
            "resources": {"requests": {"cpu": "3", "example.com/x": "1"}},
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}}],
        }));
        let requests = pod_requests(pod.spec());
        assert_eq!((requests["cpu"].0.as_str(), requests["memory"].0.as_str()), ("3", "1Gi"));
        assert!(!requests.contains_key("example.com/x"));
    }
}
