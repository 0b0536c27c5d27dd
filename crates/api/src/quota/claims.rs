//! PersistentVolumeClaims: their number and storage, in all and for each storage class.

use serde_json::Value;

use super::{one, selects};
use crate::kinds::read::{Read, annotation};
use crate::quantity::Quantity;
use crate::resource_list::{ResourceList, quantity};

const NAMES: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

pub fn tracks(name: &str) -> bool {
    NAMES.contains(&name.split_once(OF_CLASS).map_or(name, |(_, rest)| rest))
}

pub fn usage(claim: &Value) -> ResourceList {
    let mut usage = ResourceList::default();
    let mut class = annotation(claim, "volume.beta.kubernetes.io/storage-class");
    if class.is_empty() {
        class = claim.text("spec.storageClassName");
    }
    let storage = storage(claim);
    for (name, amount) in [(NAMES[0], Some(one())), (NAMES[1], storage)] {
        let Some(amount) = amount else { continue };
        if !class.is_empty() {
            usage.set(format!("{class}{OF_CLASS}{name}"), amount.clone());
        }
        usage.set(name, amount);
    }
    usage
}

/// What is asked for, or what an expansion was already given if that is more, in whole bytes.
fn storage(claim: &Value) -> Option<Quantity> {
    let asked = quantity(claim.at("spec.resources.requests.storage"))?;
    let given = quantity(claim.at("status.allocatedResources.storage")).filter(|given| *given > asked);
    let mut amount = given.unwrap_or(asked);
    let mut whole = amount.clone();
    if !whole.round_up(0) {
        amount = whole;
    }
    Some(amount)
}

pub fn in_scope(selector: &Value, claim: &Value) -> bool {
    if selector.text("scopeName") != "VolumeAttributesClass" {
        return false;
    }
    let paths = [
        "spec.volumeAttributesClassName",
        "status.currentVolumeAttributesClassName",
        "status.modifyVolumeStatus.targetVolumeAttributesClassName",
    ];
    let names: Vec<&str> = paths.iter().map(|path| claim.text(path)).filter(|name| !name.is_empty()).collect();
    if names.is_empty() { selects(selector, None) } else { names.iter().any(|name| selects(selector, Some(name))) }
}
