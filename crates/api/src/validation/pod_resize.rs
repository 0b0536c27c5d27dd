//! `resize`: new requests and limits for a running pod (KEP 1287).

use serde_json::{Map, Value};

use super::prelude::*;
use crate::equality::same;
use crate::kinds::pod::qos::class;

/// What may have changed; metadata and the new spec itself are checked.
pub(crate) fn spec(obj: &Value, old_obj: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec");
    let (new, old) = (&obj["spec"], &old_obj["spec"]);
    if class(old_obj) != class(obj) {
        let class = obj.text("status.qosClass");
        errors.invalid(&path, class, "Pod QOS Class may not change as a result of resizing");
    }
    let running = old_obj.list("status.containerStatuses").iter().find(|status| status.at("state").has("running"));
    if running.is_some_and(|status| !status.has("resources")) {
        errors.forbidden(&path, "Pod running on node without support for resize");
    }
    let mut munged = new.clone();
    pod_level(new, old, &mut munged, &path, errors);
    if !same_containers(new, old, &path, errors) {
        return;
    }
    for field in ["initContainers", "containers"] {
        let path = path.child(field);
        for (i, (new, old)) in new.list(field).iter().zip(old.list(field)).enumerate() {
            let at = path.index(i);
            none_removed(&new["resources"], &old["resources"], &at.child("resources"), "resource", errors);
        }
    }
    only_amounts(&mut munged, old, &path, errors);
    if !same(&new["volumes"], &old["volumes"]) {
        let detail = "volumes are immutable on resize when InPlacePodVerticalScalingMemoryBackedVolumes feature gate \
                      is disabled";
        errors.forbidden(&path.child("volumes"), detail);
    }
    if errors.is_empty() && !same(&munged, old) {
        errors.forbidden(&path, "only cpu and memory resources are mutable");
    }
}

fn is_set(resources: &Value) -> bool {
    !resources.map("limits").is_empty() || !resources.map("requests").is_empty()
}

fn pod_level(new: &Value, old: &Value, munged: &mut Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (new, old) = (&new["resources"], &old["resources"]);
    if !is_set(new) && !is_set(old) {
        return;
    }
    let at = path.child("resources");
    if !old.is_null() && new.is_null() {
        return errors.forbidden(&at, "pod-level resources cannot be removed");
    }
    none_removed(new, old, &at, "pod-level resource", errors);
    let kept = drop_compute(new, old);
    let kept = if old.is_null() && !is_set(&kept) { Value::Null } else { kept };
    if !same(&kept, old) {
        errors.forbidden(path, "only cpu and memory resources are mutable at pod-level");
    }
    if let Value::Object(munged) = munged {
        munged.insert("resources".into(), kept);
    }
}

fn same_containers(new: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) -> bool {
    let before = errors.0.len();
    for field in ["containers", "initContainers"] {
        let at = path.child(field);
        let (new, old) = (new.list(field), old.list(field));
        if new.len() != old.len() {
            errors.forbidden(&at, format!("{field} may not be added or removed on resize"));
            continue;
        }
        for (i, _) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new["name"] != old["name"]) {
            let detail = format!("{field} may not be renamed or reordered on resize");
            errors.forbidden(&at.index(i).child("name"), detail);
        }
    }
    errors.0.len() == before
}

fn none_removed(new: &Value, old: &Value, path: &Path<'_>, what: &str, errors: &mut ErrorList) {
    for field in ["requests", "limits"] {
        let (new, old) = (new.map(field), old.map(field));
        if old.keys().any(|name| !new.contains_key(name)) {
            errors.forbidden(&path.child(field), format!("{what} {field} cannot be removed"));
        }
    }
}

/// Puts the old amounts of cpu and memory back, and says what else has changed.
fn only_amounts(munged: &mut Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for field in ["containers", "initContainers"] {
        let at = path.child(field);
        let containers = munged.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
        for (i, (container, old)) in containers.zip(old.list(field)).enumerate() {
            let changed = !same(container, old);
            let kept = drop_compute(&container["resources"], &old["resources"]);
            if let Value::Object(fields) = container {
                match kept {
                    Value::Null if old["resources"].is_null() => drop(fields.remove("resources")),
                    kept => drop(fields.insert("resources".into(), kept)),
                }
            }
            let is_init = field == "initContainers";
            if !same(container, old) {
                if is_init {
                    let detail = "only cpu and memory resources for init or sidecar containers are mutable";
                    errors.forbidden(&at.index(i), detail);
                } else {
                    errors.forbidden(path, "only cpu and memory resources are mutable");
                }
            }
            if is_init && changed && container.text("restartPolicy") != "Always" {
                for _ in container.list("resizePolicy").iter().filter(|p| p.text("restartPolicy") == "RestartContainer")
                {
                    let detail =
                        "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
                    errors.forbidden(&at.index(i), detail);
                }
            }
        }
    }
}

/// The new resources with the old cpu and memory.
fn drop_compute(new: &Value, old: &Value) -> Value {
    let mut kept: Map<String, Value> = new.as_object().cloned().unwrap_or_default();
    for field in ["limits", "requests"] {
        let mut amounts = new.map(field).clone();
        for name in ["cpu", "memory"] {
            match old.map(field).get(name) {
                Some(amount) => amounts.insert(name.into(), amount.clone()),
                None => amounts.remove(name),
            };
        }
        // Go's equality takes no map and an empty one for the same.
        match (amounts.is_empty(), old.get(field)) {
            (true, Some(was)) if was.as_object().is_some_and(Map::is_empty) => kept.insert(field.into(), was.clone()),
            (true, _) => kept.remove(field),
            (false, _) => kept.insert(field.into(), amounts.into()),
        };
    }
    if kept.is_empty() {
        old.as_object().filter(|o| o.is_empty()).map_or(Value::Null, |o| o.clone().into())
    } else {
        kept.into()
    }
}
