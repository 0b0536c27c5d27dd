//! Fields of a pod behind feature gates that v1.37 has off: they go, unless the stored pod has them
//! (`pkg/api/pod/util.go`, `dropDisabledFields`).

use crate::kinds::prelude::*;
use crate::kinds::prepare::{list_mut, remove};

/// EvictionRequestAPI and GenericWorkload.
const OF_POD: [&str; 2] = ["spec.evictionResponders", "spec.schedulingGroup"];
/// ContainerStopSignals.
const OF_CONTAINER: &str = "lifecycle.stopSignal";

/// The same for the template of pods at `path`.
pub fn drop_in_template(obj: &mut Value, old: &Value, path: &str) {
    let template = path.split('.').try_fold(obj, |value, field| value.get_mut(field));
    if let Some(template) = template {
        drop_unless_used(template, old.at(path));
        // It counts in a pod's validation alone.
        if template.map("spec.overhead").is_empty() {
            remove(template, "spec.overhead");
        }
    }
}

/// And the lifecycle with it, if it says nothing else.
fn drop_stop_signal(container: &mut Value) {
    if container.has(OF_CONTAINER) {
        remove(container, OF_CONTAINER);
        if container.map("lifecycle").is_empty() {
            remove(container, "lifecycle");
        }
    }
}

pub fn drop_unless_used(pod: &mut Value, old: &Value) {
    for path in OF_POD {
        if pod.has(path) && !old.has(path) {
            remove(pod, path);
        }
    }
    for list in ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"] {
        if !old.list(list).iter().any(|container| container.has(OF_CONTAINER)) {
            list_mut(pod, list).iter_mut().for_each(drop_stop_signal);
        }
    }
}
