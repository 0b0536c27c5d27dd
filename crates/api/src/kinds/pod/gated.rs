//! Fields of a pod behind feature gates that v1.37 has off: they go, unless the stored pod has them
//! (`pkg/api/pod/util.go`, `dropDisabledFields`).

use crate::kinds::prelude::*;
use crate::kinds::prepare::{list_mut, remove};

/// EvictionRequestAPI and GenericWorkload.
const OF_POD: [&str; 2] = ["spec.evictionResponders", "spec.schedulingGroup"];
/// ContainerStopSignals.
const OF_CONTAINER: &str = "lifecycle.stopSignal";
const CONTAINERS: [&str; 3] = ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"];
/// GRPCContainerProbeTLS, H2CContainerProbe and VolumeBindMountOptions: of containers; `[]` stands for every item.
const OF_CONTAINERS: [&[&str]; 3] = [
    &["livenessProbe.grpc.mode", "readinessProbe.grpc.mode", "startupProbe.grpc.mode"],
    &[
        "livenessProbe.httpGet.protocol",
        "readinessProbe.httpGet.protocol",
        "startupProbe.httpGet.protocol",
        "lifecycle.postStart.httpGet.protocol",
        "lifecycle.preStop.httpGet.protocol",
    ],
    &["volumeMounts[].bindMountOptions"],
];
/// EmptyDirVolumeMode and AtomicWriteVolumeUserFields: of volumes.
const OF_VOLUMES: [&[&str]; 2] = [
    &["emptyDir.mode"],
    &[
        "secret.defaultUser",
        "secret.items[].user",
        "configMap.defaultUser",
        "configMap.items[].user",
        "downwardAPI.defaultUser",
        "downwardAPI.items[].user",
        "projected.defaultUser",
        "projected.sources[].secret.items[].user",
        "projected.sources[].configMap.items[].user",
        "projected.sources[].downwardAPI.items[].user",
        "projected.sources[].serviceAccountToken.user",
        "projected.sources[].clusterTrustBundle.user",
        "projected.sources[].podCertificate.user",
    ],
];

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
    for list in CONTAINERS {
        if !old.list(list).iter().any(|container| container.has(OF_CONTAINER)) {
            list_mut(pod, list).iter_mut().for_each(drop_stop_signal);
        }
    }
    for gate in OF_CONTAINERS {
        drop_in_items(pod, old, &CONTAINERS, gate);
    }
    for gate in OF_VOLUMES {
        drop_in_items(pod, old, &["spec.volumes"], gate);
    }
}

/// The fields of one gate, unless any item of the old lists has any of them.
fn drop_in_items(pod: &mut Value, old: &Value, lists: &[&str], fields: &[&str]) {
    let has_any = |item: &Value| fields.iter().any(|field| has(item, field));
    if lists.iter().any(|list| old.list(list).iter().any(has_any)) {
        return;
    }
    for list in lists {
        for item in list_mut(pod, list) {
            fields.iter().for_each(|field| take_out(item, field));
        }
    }
}

fn has(value: &Value, path: &str) -> bool {
    match path.split_once("[].") {
        Some((list, rest)) => value.list(list).iter().any(|item| has(item, rest)),
        None => value.has(path),
    }
}

fn take_out(value: &mut Value, path: &str) {
    match path.split_once("[].") {
        Some((list, rest)) => list_mut(value, list).iter_mut().for_each(|item| take_out(item, rest)),
        None => remove(value, path),
    }
}
