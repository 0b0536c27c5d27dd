//! What CSI drivers say of themselves: CSIDrivers, CSINodes, CSIStorageCapacities.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::node::selector_warnings;
use super::prelude::*;
use super::resources::quantity;
use super::selector::{has_bad_values, label_selector};
use super::volumes::csi_driver;
use crate::equality::{same, same_field};
use crate::object_meta::subdomain_rule;

pub(crate) fn driver(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    driver_spec(&obj["spec"], errors);
}

pub(crate) fn driver_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    driver_spec(&obj["spec"], errors);
    let (new, old, path) = (&obj["spec"], &old["spec"], Path::new("spec"));
    immutable(&new["attachRequired"], &old["attachRequired"], &path.child("attachedRequired"), errors);
    let modes = path.child("volumeLifecycleModes");
    immutable(&new["volumeLifecycleModes"], &old["volumeLifecycleModes"], &modes, errors);
}

fn driver_spec(spec: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec");
    // Upstream's path of `attachRequired` has a letter too many.
    for (field, shown) in [
        ("attachRequired", "attachedRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ] {
        if !spec.has(field) {
            errors.required(&path.child(shown), "");
        }
    }
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    optional_one_of(&spec["fsGroupPolicy"], &policies, &path.child("fsGroupPolicy"), errors);
    token_requests(spec.list("tokenRequests"), &path.child("tokenRequests"), errors);
    for mode in texts(spec, "volumeLifecycleModes") {
        one_of(mode, &["Persistent", "Ephemeral"], &path.child("volumeLifecycleModes"), errors);
    }
    if !spec.has("seLinuxMount") {
        errors.required(&path.child("seLinuxMount"), "");
    }
    if let Some(period) = spec["nodeAllocatableUpdatePeriodSeconds"].as_i64().filter(|period| *period < 10) {
        let at = path.child("nodeAllocatableUpdatePeriodSeconds");
        errors.invalid(&at, period, "must be greater than or equal to 10 seconds");
    }
    if spec.has("serviceAccountTokenInSecrets") && spec.list("tokenRequests").is_empty() {
        let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.invalid(
            &path.child("serviceAccountTokenInSecrets"),
            spec["serviceAccountTokenInSecrets"].clone(),
            detail,
        );
    }
}

fn token_requests(requests: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
    let mut audiences = BTreeSet::new();
    for (i, request) in requests.iter().enumerate() {
        let (path, audience) = (path.index(i), request.text("audience"));
        if !audiences.insert(audience) {
            errors.duplicate(&path.child("audience"), audience);
            continue;
        }
        let at = path.child("expirationSeconds");
        match request["expirationSeconds"].as_i64() {
            Some(seconds) if seconds < 600 => {
                errors.invalid(&at, seconds, "may not specify a duration less than 10 minutes");
            }
            Some(seconds) if seconds > 1 << 32 => {
                errors.invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds");
            }
            _ => {}
        }
    }
}

/// Tokens are better handed over apart from what is logged (KEP 5538).
pub(crate) fn driver_warnings(obj: &Value, old: Option<&Value>) -> Vec<String> {
    let (requests, spec) = (obj.list("spec.tokenRequests"), &obj["spec"]);
    let changed = old.is_none_or(|old| !same_field(spec, &old["spec"], "tokenRequests"));
    if requests.is_empty() || spec.has("serviceAccountTokenInSecrets") || !changed {
        return Vec::new();
    }
    vec![TOKEN_WARNING.to_owned()]
}

const TOKEN_WARNING: &str = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to \
                             prevent possible logging of tokens in volume attributes";

const NODE_ID_MAX_LENGTH: usize = 256;

pub(crate) fn node(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    let (drivers, path) = (obj.list("spec.drivers"), Path::new("spec.drivers"));
    for (i, driver) in drivers.iter().enumerate() {
        let (path, name, id) = (path.index(i), driver.text("name"), driver.text("nodeID"));
        csi_driver(name, &path.child("name"), errors);
        if id.is_empty() {
            errors.required(&path.child("nodeID"), "");
        }
        if id.len() > NODE_ID_MAX_LENGTH {
            errors.invalid(&path.child("nodeID"), id, format!("must be {NODE_ID_MAX_LENGTH} characters or less"));
        }
        if let Some(count) = driver.at("allocatable.count").as_i64() {
            non_negative(count, &path.child("allocatable.count"), errors);
        }
        if drivers[..i].iter().any(|other| other.text("name") == name) {
            errors.duplicate(&path.child("name"), name);
        }
        topology_keys(driver, &path, errors);
    }
}

fn topology_keys(driver: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut taken = BTreeSet::new();
    for key in texts(driver, "topologyKeys") {
        if key.is_empty() {
            errors.required(path, "");
        }
        if !taken.insert(key) {
            errors.duplicate(path, key);
        }
        qualified_name(key, path, errors);
    }
}

pub(crate) fn node_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    node(obj, errors);
    let fixed = |driver: &Value| json!([driver["name"], driver["nodeID"], driver.list("topologyKeys")]);
    for was in old.list("spec.drivers") {
        for driver in obj.list("spec.drivers").iter().filter(|driver| driver["name"] == was["name"]) {
            if fixed(driver) != fixed(was) {
                let shown = json!({ "Name": driver["name"], "NodeID": driver["nodeID"],
                    "TopologyKeys": driver["topologyKeys"], "Allocatable": null });
                errors.invalid(&Path::new("spec.drivers"), shown, IMMUTABLE);
            }
        }
    }
}

pub(crate) fn capacity(obj: &Value, errors: &mut ErrorList) {
    checked_capacity(obj, false, errors);
}

pub(crate) fn capacity_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    checked_capacity(obj, has_bad_values(&old["nodeTopology"]), errors);
    metadata_update(obj, old, errors);
    for field in ["nodeTopology", "storageClassName"] {
        if !same(&obj[field], &old[field]) {
            errors.invalid(&Path::new(field), obj[field].clone(), IMMUTABLE);
        }
    }
}

fn checked_capacity(obj: &Value, allow_bad_values: bool, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    label_selector(&obj["nodeTopology"], allow_bad_values, &Path::new("nodeTopology"), errors);
    let class = obj.text("storageClassName");
    errors.each_invalid(&Path::new("storageClassName"), class, subdomain_rule(class, false));
    let amount = quantity(&obj["capacity"]);
    if amount.sign() < 0 {
        errors.invalid(&Path::new("capacity"), amount.to_string(), NOT_NEGATIVE);
    }
}

pub(crate) fn capacity_warnings(obj: &Value, _: Option<&Value>) -> Vec<String> {
    selector_warnings(&obj["nodeTopology"], &Path::new("nodeTopology"))
}
