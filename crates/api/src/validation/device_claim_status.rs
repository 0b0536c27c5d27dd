//! What became of a ResourceClaim: which devices it got, who uses them, and how they are.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::conditions::conditions;
use super::device_claim::{MAX_REQUESTS, Names, declared_names};
use super::devices::{
    MAX_CONFIGS, at_most, binding_conditions, binding_conditions_counts, configuration, configuration_driver,
    declared_tolerations, driver_name, few, json_object, pool_name, tolerations, unique,
};
use super::prelude::*;
use super::selector::node_selector;
use super::volumes::csi_driver;
use crate::meta;

const MAX_CONSUMERS: usize = 256;
const MAX_RESULTS: usize = MAX_REQUESTS;
/// The class' and the claim's.
const MAX_ALL_CONFIGS: usize = 2 * MAX_CONFIGS;
const MAX_CONDITIONS: usize = 8;
const MAX_DATA: usize = 10 * 1024;
const MAX_INTERFACE_NAME: usize = 256;
const MAX_HARDWARE_ADDRESS: usize = 128;
const MAX_IPS: usize = 16;
const SOURCES: &[&str] = &["FromClaim", "FromClass"];

pub(crate) fn claim_status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let path = Path::new("status");
    let (status, old_status) = (&obj["status"], &old["status"]);
    let at = path.child("reservedFor");
    for (i, consumer) in few(status.list("reservedFor"), MAX_CONSUMERS) {
        for field in ["resource", "name", "uid"] {
            required(consumer, field, &at.index(i), errors);
        }
    }
    let allocated: BTreeSet<_> = status.list("allocation.devices.results").iter().map(device_id).collect();
    let at = path.child("devices");
    for (i, device) in status.list("devices").iter().enumerate() {
        coded_device(device, &allocated, &at.index(i), errors);
    }
    coded_consumers(obj, old, &path.child("reservedFor"), errors);
    let (allocation, at) = (&status["allocation"], path.child("allocation"));
    let is_new = allocation.is_object() && !old_status.has("allocation");
    if is_new {
        let names = Names::of(obj.at("spec.devices"));
        coded_allocation(allocation, &names, &at, errors);
    }
    declared(status, old_status, &path, errors);
}

fn device_id(device: &Value) -> [&str; 4] {
    ["driver", "pool", "device", "shareID"].map(|field| device.text(field))
}

fn coded_consumers(obj: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let consumers = obj.list("status.reservedFor");
    if consumers.is_empty() {
        return;
    }
    if !obj.has("status.allocation") {
        errors.forbidden(path, "may not be specified when `allocated` is not set");
    } else if meta::is_terminating(obj) && consumers.iter().any(|c| !old.list("status.reservedFor").contains(c)) {
        let detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        errors.forbidden(path, detail);
    }
}

fn coded_device(device: &Value, allocated: &BTreeSet<[&str; 4]>, path: &Path<'_>, errors: &mut ErrorList) {
    csi_driver(device.text("driver"), &path.child("driver"), errors);
    pool_name(device.text("pool"), &path.child("pool"), errors);
    dns1123_label(device.text("device"), &path.child("device"), errors);
    let id = device_id(device);
    if !allocated.contains(&id) {
        let share = if id[3].is_empty() { Value::Null } else { id[3].into() };
        let value = json!({ "Driver": id[0], "Pool": id[1], "Device": id[2], "ShareID": share });
        errors.invalid(path, value, "must be an allocated device in the claim");
    }
    let (at, list) = (path.child("conditions"), device.list("conditions"));
    at_most(list, MAX_CONDITIONS, &at, errors);
    conditions(list, &at, errors);
    if device.has("data") {
        json_object(&device["data"], MAX_DATA, &path.child("data"), errors);
    }
    let (network, at) = (path.child("networkData"), device.at("networkData"));
    let ips = network.child("ips");
    for (i, ip) in few(at.list("ips"), MAX_IPS) {
        interface_address(ip.as_str().unwrap_or_default(), &ips.index(i), errors);
    }
}

/// `10.9.8.7/24`, in its canonical form.
fn interface_address(text: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let parsed = text.split_once('/').and_then(|(ip, length)| {
        let ip: IpAddr = ip.parse().ok()?;
        let length: u8 = length.parse().ok()?;
        (length <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, length))
    });
    let Some((ip, length)) = parsed else {
        let detail = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
        return errors.invalid(path, text, detail);
    };
    let length = if ip.to_canonical().is_ipv4() && length > 32 { length - 96 } else { length };
    let canonical = format!("{}/{length}", ip.to_canonical());
    if canonical != text {
        errors.invalid(path, text, format!("must be in canonical form (\"{canonical}\")"));
    }
}

fn coded_allocation(allocation: &Value, names: &Names<'_>, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("devices.results");
    for (i, result) in few(allocation.list("devices.results"), MAX_RESULTS) {
        let path = at.index(i);
        names.check(result.text("request"), &path.child("request"), errors);
        dns1123_label(result.text("device"), &path.child("device"), errors);
        binding_conditions(result, &path, errors);
        tolerations(result.list("tolerations"), &path.child("tolerations"), errors);
    }
    let at = path.child("devices.config");
    for (i, config) in few(allocation.list("devices.config"), MAX_ALL_CONFIGS) {
        names.check_all(config, &at.index(i), errors);
        configuration(config, &at.index(i), false, errors);
    }
    if allocation.has("nodeSelector") {
        node_selector(&allocation["nodeSelector"], false, &path.child("nodeSelector"), errors);
    }
}

fn declared(status: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (allocation, at) = (&status["allocation"], path.child("allocation"));
    if old.has("allocation") && allocation.is_object() {
        immutable(allocation, &old["allocation"], &at, errors);
    } else if allocation.is_object() {
        declared_allocation(allocation, &at, errors);
    }
    let (at, consumers) = (path.child("reservedFor"), status.list("reservedFor"));
    at_most(consumers, MAX_CONSUMERS, &at, errors);
    if consumers.len() <= MAX_CONSUMERS {
        unique(consumers, |consumer| consumer.text("uid"), &at, errors);
    }
    let (at, devices) = (path.child("devices"), status.list("devices"));
    unique(devices, device_id, &at, errors);
    for (i, device) in devices.iter().enumerate() {
        declared_device(device, &at.index(i), errors);
    }
}

fn declared_allocation(allocation: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (at, results) = (path.child("devices.results"), allocation.list("devices.results"));
    at_most(results, MAX_RESULTS, &at, errors);
    for (i, result) in few(results, MAX_RESULTS) {
        let path = at.index(i);
        driver_name(result.text("driver"), &path.child("driver"), errors);
        pool_name(result.text("pool"), &path.child("pool"), errors);
        declared_tolerations(result.list("tolerations"), &path.child("tolerations"), errors);
        binding_conditions_counts(result, &path, errors);
        share(result, &path, errors);
    }
    let (at, configs) = (path.child("devices.config"), allocation.list("devices.config"));
    at_most(configs, MAX_ALL_CONFIGS, &at, errors);
    for (i, config) in few(configs, MAX_ALL_CONFIGS) {
        let path = at.index(i);
        match config.text("source") {
            "" => errors.required(&path.child("source"), ""),
            source => one_of(source, SOURCES, &path.child("source"), errors),
        }
        declared_names(config, &path, errors);
        configuration_driver(config, &path, errors);
    }
}

fn declared_device(device: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    share(device, path, errors);
    let (network, at) = (device.at("networkData"), path.child("networkData"));
    for (field, max) in [("interfaceName", MAX_INTERFACE_NAME), ("hardwareAddress", MAX_HARDWARE_ADDRESS)] {
        if network.text(field).len() > max {
            errors.too_long(&at.child(field), max);
        }
    }
    let (at, ips) = (at.child("ips"), network.list("ips"));
    at_most(ips, MAX_IPS, &at, errors);
    if ips.len() <= MAX_IPS {
        unique(ips, |ip| ip, &at, errors);
    }
}

/// Which share of a device it is.
fn share(of: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(id) = of["shareID"].as_str() else { return };
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    if id.len() != 36 || !id.bytes().enumerate().all(fits) {
        errors.invalid(&path.child("shareID"), id, "must be a lowercase UUID in 8-4-4-4-12 format");
    }
}
