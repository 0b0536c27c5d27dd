//! Pod-level resources, filled from what the containers say (KEP-2837). Runs when a Pod is created,
//! after admission has added its containers (feature PodLevelResourcesFixDefaulting, on in v1.37).

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Object, child, existing};
use crate::quantity::Quantity;

type Sums = BTreeMap<String, Quantity>;

/// Completes `spec.resources` of a Pod, where some of it is given.
pub fn set_pod_level_resources(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let given = |spec: &Object, list: &str| {
        let entries = spec.get("resources").and_then(|r| r[list].as_object());
        entries.is_some_and(|e| !e.is_empty())
    };
    if !given(spec, "limits") && !given(spec, "requests") {
        return;
    }
    let (limits, requests) = (total(spec, "limits"), total(spec, "requests"));
    let Some(resources) = existing(spec, "resources") else { return };
    let huge: Vec<(String, Quantity)> = limits.into_iter().filter(|(name, _)| is_huge_page(name)).collect();
    if !huge.is_empty() {
        let into = child(resources, "limits");
        huge.into_iter().for_each(|(name, sum)| super::set(into, &name, sum.to_string()));
    }
    let Some(Value::Object(limits)) =
        resources.get("limits").cloned().filter(|l| l.as_object().is_some_and(|o| !o.is_empty()))
    else {
        return;
    };
    let into = child(resources, "requests");
    for (name, sum) in requests.into_iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory")) {
        super::set(into, &name, sum.to_string());
    }
    for (name, limit) in
        limits.into_iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory") || is_huge_page(name))
    {
        super::set(into, &name, limit);
    }
}

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// The larger of what runs for good and what initialization needs, per resource.
fn total(spec: &Object, list: &str) -> Sums {
    let containers = |field: &str| spec.get(field).and_then(Value::as_array).into_iter().flatten();
    let of = |container: &Value| -> Sums {
        let entries = container["resources"][list].as_object().into_iter().flatten();
        entries.filter_map(|(name, q)| Some((name.clone(), Quantity::parse(q.as_str()?).ok()?))).collect()
    };
    let (mut sum, mut sidecars, mut peak) = (Sums::new(), Sums::new(), Sums::new());
    containers("containers").for_each(|c| add(&mut sum, &of(c)));
    for container in containers("initContainers") {
        let own = of(container);
        if container["restartPolicy"] == "Always" {
            add(&mut sum, &own);
            add(&mut sidecars, &own);
            raise(&mut peak, &sidecars);
        } else {
            let mut both = sidecars.clone();
            add(&mut both, &own);
            raise(&mut peak, &both);
        }
    }
    raise(&mut sum, &peak);
    sum
}

fn add(into: &mut Sums, more: &Sums) {
    for (name, quantity) in more {
        match into.get_mut(name) {
            Some(sum) => sum.add(quantity),
            None => drop(into.insert(name.clone(), quantity.clone())),
        }
    }
}

fn raise(into: &mut Sums, floor: &Sums) {
    for (name, quantity) in floor {
        if into.get(name).is_none_or(|have| have < quantity) {
            into.insert(name.clone(), quantity.clone());
        }
    }
}
