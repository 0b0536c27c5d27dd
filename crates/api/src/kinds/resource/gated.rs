//! Fields of devices behind feature gates that v1.37 has off: they go, unless what is stored has them
//! (`pkg/api/resourceclaimspec`, `pkg/registry/resource/*/strategy.go`).

use crate::kinds::prelude::*;
use crate::kinds::prepare::{list_mut, remove};

/// DRADerivedAttributes.
const OF_REQUEST: &str = "derivedAttributes";
/// DRAPartitionableDevicesType and DRAOptionalNodeOperations.
const OF_SLICE: [&str; 2] = ["partitionTypeAttribute", "skipNodeOperations"];
/// DRANodeAllocatableResources.
const OF_DEVICE: &str = "nodeAllocatableResources";
/// DRADeviceCompatibilityGroups.
const OF_CONSUMPTION: &str = "compatibilityGroups";
/// DRAListTypeAttributes.
const OF_ATTRIBUTE: [&str; 4] = ["bools", "ints", "strings", "versions"];

/// Of the DeviceClaim at `path`.
pub fn drop_in_claim(obj: &mut Value, old: &Value, path: &str) {
    let requests = format!("{path}.requests");
    let derives = |choice: &Value| choice.has(OF_REQUEST);
    let used = |request: &Value| derives(&request["exactly"]) || request.list("firstAvailable").iter().any(derives);
    if old.list(&requests).iter().any(used) {
        return;
    }
    for request in list_mut(obj, &requests) {
        remove(request, &format!("exactly.{OF_REQUEST}"));
        list_mut(request, "firstAvailable").iter_mut().for_each(|sub| remove(sub, OF_REQUEST));
    }
}

/// Of a claim's status: DRAOptionalNodeOperations.
pub fn drop_in_status(obj: &mut Value, old: &Value) {
    const RESULTS: &str = "status.allocation.devices.results";
    if !old.list(RESULTS).iter().any(|result| result.has(OF_SLICE[1])) {
        list_mut(obj, RESULTS).iter_mut().for_each(|result| remove(result, OF_SLICE[1]));
    }
}

pub fn drop_in_slice(obj: &mut Value, old: &Value) {
    for field in OF_SLICE.map(|field| format!("spec.{field}")) {
        if !old.has(&field) {
            remove(obj, &field);
        }
    }
    let devices = || old.list("spec.devices").iter();
    let consumptions = |device: &Value| device.list("consumesCounters").iter().any(|c| c.has(OF_CONSUMPTION));
    let lists = |device: &Value| {
        device.map("attributes").values().any(|value| OF_ATTRIBUTE.iter().any(|field| value.has(field)))
    };
    let (resources, consumptions, lists) =
        (devices().any(|device| device.has(OF_DEVICE)), devices().any(consumptions), devices().any(lists));
    for device in list_mut(obj, "spec.devices") {
        if !resources {
            remove(device, OF_DEVICE);
        }
        if !consumptions {
            list_mut(device, "consumesCounters").iter_mut().for_each(|c| remove(c, OF_CONSUMPTION));
        }
        if !lists && let Some(attributes) = device.get_mut("attributes").and_then(Value::as_object_mut) {
            attributes.values_mut().for_each(|value| OF_ATTRIBUTE.iter().for_each(|field| remove(value, field)));
        }
    }
}
