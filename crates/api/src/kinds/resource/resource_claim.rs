use std::collections::BTreeSet;

use super::gated;
use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct ResourceClaim;

facts!(namespaced("resource.k8s.io", "ResourceClaim", "resourceclaims").status());

impl Kind for ResourceClaim {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: device_claim::claim,
        update: device_claim::claim_update,
        "status": device_claim_status::claim_status,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["metadata", "spec"]),
            _ => ResetFields::NONE,
        }
    }

    fn prepare_subresource(&self, subresource: &str, obj: &mut Value, old: &Value) {
        self.reset_fields(subresource).keep_old(obj, old);
        if subresource == "status" {
            gated::drop_in_status(obj, old);
            forget_deallocated_devices(obj, old);
        }
    }

    fn drop_disabled(&self, obj: &mut Value, old: &Value) {
        gated::drop_in_claim(obj, old, "spec.devices");
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, State, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), state(obj), age(obj, now)]
    }
}

/// The status of a device goes with its allocation.
fn forget_deallocated_devices(obj: &mut Value, old: &Value) {
    let allocated = |claim: &Value| -> BTreeSet<[String; 4]> {
        claim.list("status.allocation.devices.results").iter().map(device_id).collect()
    };
    let gone: BTreeSet<_> = allocated(old).difference(&allocated(obj)).cloned().collect();
    let Some(status) = obj.get_mut("status").and_then(Value::as_object_mut) else { return };
    let Some(devices) = status.get_mut("devices").and_then(Value::as_array_mut) else { return };
    devices.retain(|device| !gone.contains(&device_id(device)));
    if devices.is_empty() {
        status.remove("devices");
    }
}

fn device_id(device: &Value) -> [String; 4] {
    ["driver", "pool", "device", "shareID"].map(|field| device.text(field).to_owned())
}

/// `deleted,allocated,reserved`
fn state(claim: &Value) -> String {
    let deleted = crate::meta::is_terminating(claim);
    let allocated = claim.has("status.allocation");
    let reserved = allocated && !claim.list("status.reservedFor").is_empty();
    let states =
        [("deleted", deleted), ("pending", !allocated && !deleted), ("allocated", allocated), ("reserved", reserved)];
    states.iter().filter(|(_, holds)| *holds).map(|(state, _)| *state).collect::<Vec<_>>().join(",")
}
