//! What a whole pod asks for and may use: its containers' sum, or the peak of its initialization where that
//! is higher, or the pod's own numbers (`k8s.io/component-helpers/resource`; KEP-753, KEP-2837, KEP-1287).

use serde_json::Value;

use crate::kinds::read::{Read, condition};
use crate::resource_list::ResourceList;

/// What the pod holds: of a resize under way, the larger side counts.
pub fn held_requests(pod: &Value) -> ResourceList {
    let infeasible = resize_is_infeasible(pod);
    let spec = |container: &Value| list_of(container, "requests");
    let allocated = |container: &Value| {
        let status = status_of(pod, container.text("name"));
        status.filter(|s| s.has("allocatedResources")).map_or_else(
            || if infeasible { ResourceList::default() } else { spec(container) },
            |status| ResourceList::read(&status["allocatedResources"]),
        )
    };
    let actuated = |container: &Value| match status_of(pod, container.text("name")) {
        Some(status) if status.has("resources.requests") => ResourceList::read(status.at("resources.requests")),
        _ => allocated(container),
    };
    let mut total = aggregate(pod, allocated);
    total.raise(&aggregate(pod, actuated));
    if !infeasible {
        total.raise(&aggregate(pod, spec));
    }
    whole_requests(pod, total, "spec.overhead")
}

/// What the pod may use, of a resize under way the larger side.
pub fn held_limits(pod: &Value) -> ResourceList {
    let infeasible = resize_is_infeasible(pod);
    let spec = |container: &Value| list_of(container, "limits");
    let actuated = |container: &Value| match status_of(pod, container.text("name")) {
        Some(status) if status.has("resources.limits") => ResourceList::read(status.at("resources.limits")),
        _ if infeasible => ResourceList::default(),
        _ => spec(container),
    };
    let mut total = aggregate(pod, actuated);
    if !infeasible {
        total.raise(&aggregate(pod, spec));
    }
    overlay(&mut total, pod.at("spec.resources.limits"));
    for (name, more) in ResourceList::read(pod.at("spec.overhead")).iter() {
        if let Some(mut limit) = total.get(name).filter(|limit| !limit.is_zero()).cloned() {
            limit.add(more);
            total.set(name, limit);
        }
    }
    total
}

/// What the spec asks for, without overhead: what a LimitRange of pods looks at.
pub fn asked_requests(pod: &Value) -> ResourceList {
    whole_requests(pod, aggregate(pod, |container| list_of(container, "requests")), "")
}

/// What the spec allows, without overhead.
pub fn asked_limits(pod: &Value) -> ResourceList {
    let mut total = aggregate(pod, |container| list_of(container, "limits"));
    overlay(&mut total, pod.at("spec.resources.limits"));
    total
}

/// Requests or limits for the whole pod are set.
pub fn has_pod_level(pod: &Value) -> bool {
    let names = ["spec.resources.requests", "spec.resources.limits"].into_iter().flat_map(|path| pod.map(path).keys());
    names.into_iter().any(|name| is_pod_level(name))
}

fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

fn whole_requests(pod: &Value, mut total: ResourceList, overhead: &str) -> ResourceList {
    overlay(&mut total, pod.at("spec.resources.requests"));
    total.add(&ResourceList::read(pod.at(overhead)));
    total
}

fn overlay(total: &mut ResourceList, pod_level: &Value) {
    for (name, amount) in ResourceList::read(pod_level).iter().filter(|(name, _)| is_pod_level(name)) {
        total.set(name, amount.clone());
    }
}

fn aggregate(pod: &Value, of: impl Fn(&Value) -> ResourceList) -> ResourceList {
    let mut total = ResourceList::default();
    for container in pod.list("spec.containers") {
        total.add(&of(container));
    }
    let (mut sidecars, mut peak) = (ResourceList::default(), ResourceList::default());
    for container in pod.list("spec.initContainers") {
        let mut own = of(container);
        if container.text("restartPolicy") == "Always" {
            total.add(&own);
            sidecars.add(&own);
            peak.raise(&sidecars);
        } else {
            own.add(&sidecars);
            peak.raise(&own);
        }
    }
    total.raise(&peak);
    total
}

fn list_of(container: &Value, which: &str) -> ResourceList {
    ResourceList::read(&container["resources"][which])
}

fn status_of<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    let lists = ["status.containerStatuses", "status.initContainerStatuses"];
    lists.into_iter().flat_map(|path| pod.list(path)).find(|status| status.text("name") == name)
}

fn resize_is_infeasible(pod: &Value) -> bool {
    condition(pod, "PodResizePending").is_some_and(|pending| pending.text("reason") == "Infeasible")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sums_peaks_and_pod_level_numbers() {
        let mut pod = json!({"spec": {
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}},
                           {"name": "b", "resources": {"requests": {"cpu": "200m"}}}],
            "initContainers": [{"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
                               {"name": "i", "resources": {"requests": {"cpu": "2"}}}],
            "overhead": {"cpu": "10m"}}});
        assert_eq!(held_requests(&pod).to_string(), "cpu=2060m");
        assert_eq!(asked_requests(&pod).to_string(), "cpu=2050m");
        assert_eq!(held_limits(&pod).to_string(), "cpu=1010m");
        assert!(!has_pod_level(&pod));
        pod["spec"]["resources"] = json!({"requests": {"cpu": "3", "x.io/y": "1"}});
        assert_eq!(held_requests(&pod).to_string(), "cpu=3010m");
        assert!(has_pod_level(&pod));
    }

    #[test]
    fn a_resize_counts_its_larger_side() {
        let pod = json!({
            "spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"containerStatuses": [{"name": "a", "allocatedResources": {"cpu": "3"}}]},
        });
        assert_eq!(held_requests(&pod).to_string(), "cpu=3");
        let mut stuck = pod.clone();
        stuck["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "9".into();
        assert_eq!(held_requests(&stuck).to_string(), "cpu=9");
        stuck["status"]["conditions"] = json!([{"type": "PodResizePending", "reason": "Infeasible"}]);
        assert_eq!(held_requests(&stuck).to_string(), "cpu=3");
    }
}
