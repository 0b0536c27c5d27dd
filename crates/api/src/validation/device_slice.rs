//! ResourceSlices: the devices of a pool.

use serde_json::Value;

use super::device_capacity::capacity;
use super::devices::{
    at_most, attribute_name, binding_conditions, binding_conditions_counts, effect, few, in_bytes, pool_name, taint,
    unique,
};
use super::prelude::*;
use super::selector::node_selector;
use super::volumes::csi_driver;
use crate::names;
use crate::object_meta::subdomain_rule;

const MAX_DEVICES: usize = 128;
/// Where a device has taints or consumes counters.
const MAX_RICH_DEVICES: usize = 64;
const MAX_COUNTER_SETS: usize = 8;
const MAX_COUNTERS: usize = 32;
const MAX_CONSUMPTIONS: usize = 2;
const MAX_TAINTS: usize = 16;
const MAX_PROPERTIES: usize = 32;
const MAX_VALUES: usize = 48;
const MAX_VALUE_LENGTH: usize = 64;
/// A domain, a slash and a name.
const MAX_KEY_LENGTH: usize = 63 + 1 + 32;
const KINDS_OF_VALUES: [&str; 8] = ["int", "bool", "string", "version", "ints", "bools", "strings", "versions"];
const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];

pub(crate) fn slice(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    coded(&obj["spec"], &Value::Null, errors);
    declared(&obj["spec"], &Value::Null, errors);
}

pub(crate) fn slice_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    coded(&obj["spec"], &old["spec"], errors);
    declared(&obj["spec"], &old["spec"], errors);
}

pub(crate) fn slice_warnings(obj: &Value, _old: Option<&Value>) -> Vec<String> {
    let driver = obj.text("spec.driver");
    if driver == driver.to_lowercase() {
        return Vec::new();
    }
    let driver = crate::quote::quote(driver);
    vec![format!("spec.driver: driver names should be lowercase; {driver} contains uppercase characters")]
}

fn coded(spec: &Value, old: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec");
    csi_driver(spec.text("driver"), &path.child("driver"), errors);
    pool(&spec["pool"], &path.child("pool"), errors);
    if !old.is_null() {
        for field in ["pool.name", "driver", "nodeName"] {
            immutable(spec.at(field), old.at(field), &path.child(field), errors);
        }
    }
    coded_nodes(spec, &path, errors);
    if spec.has("sharedCounters") && spec.has("devices") {
        errors.invalid(&path, "", "only one of `sharedCounters` or `devices` is allowed");
    }
    coded_devices(spec, old, &path, errors);
    let at = path.child("sharedCounters");
    for (i, set) in few(spec.list("sharedCounters"), MAX_COUNTER_SETS) {
        coded_counters(set, &at.index(i), errors);
    }
}

fn pool(pool: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    pool_name(pool.text("name"), &path.child("name"), errors);
    positive(pool.int("resourceSliceCount"), &path.child("resourceSliceCount"), errors);
    let generation = pool.int("generation");
    if generation < 0 {
        errors.invalid(&path.child("generation"), generation, "must be greater than or equal to zero");
    }
}

/// Exactly one way of saying from which nodes the devices can be reached.
fn coded_nodes(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut set = Vec::new();
    let at = path.child("nodeName");
    match spec["nodeName"].as_str() {
        None => {}
        Some("") => errors.invalid(&at, "", "must be either unset or set to a non-empty string"),
        Some(name) => {
            set.push("`nodeName`");
            dns1123_subdomain(name, &at, errors);
        }
    }
    if spec.has("nodeSelector") {
        set.push("`nodeSelector`");
        let at = path.child("nodeSelector");
        node_selector(&spec["nodeSelector"], false, &at, errors);
        let terms = spec.at("nodeSelector.nodeSelectorTerms");
        if terms.as_array().map_or(0, Vec::len) != 1 {
            errors.invalid(&at.child("nodeSelectorTerms"), terms.clone(), "must have exactly one node selector term");
        }
    }
    set_flag(spec, "allNodes", "`allNodes`", &mut set, path, errors);
    set_flag(spec, "perDeviceNodeSelection", "`perDeviceNodeSelection`", &mut set, path, errors);
    let detail = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match set.len() {
        0 => errors.required(path, detail),
        1 => {}
        _ => {
            let value = format!("{{{}}}", set.join(", "));
            errors.invalid(path, value, format!("{detail}, but multiple fields are set"));
        }
    }
}

fn set_flag(
    of: &Value,
    field: &str,
    shown: &'static str,
    set: &mut Vec<&'static str>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    match of[field].as_bool() {
        Some(true) => set.push(shown),
        Some(false) => errors.invalid(&path.child(field), false, "must be either unset or set to true"),
        None => {}
    }
}

fn coded_devices(spec: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (path, devices) = (path.child("devices"), spec.list("devices"));
    let is_rich = |device: &Value| {
        let lists = || device.map("attributes").values().any(|value| LISTS.iter().any(|list| value.has(list)));
        ["taints", "consumesCounters"].iter().any(|field| !device.list(field).is_empty()) || lists()
    };
    let max = if devices.iter().any(is_rich) { MAX_RICH_DEVICES } else { MAX_DEVICES };
    if devices.len() > max {
        return errors.too_many(&path, devices.len(), max);
    }
    for (i, device) in devices.iter().enumerate() {
        let old = old.list("devices").iter().find(|old| old["name"] == device["name"]).unwrap_or(&Value::Null);
        coded_device(device, old, &path.index(i), errors);
        coded_device_nodes(device, spec.flag("perDeviceNodeSelection"), &path.index(i), errors);
        binding_conditions(device, &path.index(i), errors);
    }
    for (i, device) in devices.iter().enumerate() {
        let name = device.text("name");
        if devices[..i].iter().any(|other| other.text("name") == name) {
            errors.duplicate(&path.index(i), name);
        }
    }
}

fn coded_device(device: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    dns1123_label(device.text("name"), &path.child("name"), errors);
    let (attributes, capacities) = (device.map("attributes"), device.map("capacity"));
    let properties = attributes.len() + capacities.len();
    if properties > MAX_PROPERTIES {
        let detail = format!("the total number of attributes and capacities must not exceed {MAX_PROPERTIES}");
        errors.invalid(path, properties, detail);
    }
    let values = |of: &Value| LISTS.iter().map(|list| of.list(list).len()).sum::<usize>().max(1);
    let values: usize = attributes.values().map(values).sum();
    if values > MAX_VALUES {
        errors.invalid(path, values, format!("the total number of attribute values must not exceed {MAX_VALUES}"));
    }
    let at = path.child("attributes");
    for (name, value) in attributes {
        attribute_name(name, &at, errors);
        attribute(value, &at.key(&shortened(name, MAX_KEY_LENGTH)), errors);
    }
    if old.is_null() || !crate::equality::same_field(device, old, "capacity") {
        let at = path.child("capacity");
        for (name, value) in capacities {
            attribute_name(name, &at, errors);
            let shared = device.flag("allowMultipleAllocations");
            capacity(value, shared, &at.key(&shortened(name, MAX_KEY_LENGTH)), errors);
        }
    }
    if old.is_null() || !crate::equality::same_field(device, old, "taints") {
        let (at, taints) = (path.child("taints"), device.list("taints"));
        at_most(taints, MAX_TAINTS, &at, errors);
        few(taints, MAX_TAINTS).for_each(|(i, value)| taint(value, &at.index(i), errors));
    }
    let at = path.child("consumesCounters");
    for (i, consumption) in few(device.list("consumesCounters"), MAX_CONSUMPTIONS) {
        coded_counters(consumption, &at.index(i), errors);
    }
}

/// A key as paths show it: a long one without its middle.
fn shortened(key: &str, max: usize) -> String {
    if key.len() <= max {
        return key.to_owned();
    }
    let kept = max - 3;
    let (head, tail) = (&key.as_bytes()[..kept.div_ceil(2)], &key.as_bytes()[key.len() - kept / 2..]);
    format!("{}...{}", String::from_utf8_lossy(head), String::from_utf8_lossy(tail))
}

fn coded_device_nodes(device: &Value, per_device: bool, path: &Path<'_>, errors: &mut ErrorList) {
    if !per_device {
        if ["nodeName", "nodeSelector", "allNodes"].iter().any(|field| device.has(field)) {
            let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to \
                          true in the ResourceSlice spec";
            errors.invalid(path, Value::Null, detail);
        }
        return;
    }
    let mut set = Vec::new();
    let at = path.child("nodeName");
    match device["nodeName"].as_str() {
        None => {}
        Some("") => errors.invalid(&at, "", "must not be empty"),
        Some(name) => {
            set.push("`nodeName`");
            dns1123_subdomain(name, &at, errors);
        }
    }
    if device.has("nodeSelector") {
        set.push("`nodeSelector`");
        node_selector(&device["nodeSelector"], false, &path.child("nodeSelector"), errors);
    }
    set_flag(device, "allNodes", "`allNodes`", &mut set, path, errors);
    let detail = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is \
                  set to true in the ResourceSlice spec";
    match set.len() {
        0 => errors.required(path, detail),
        1 => {}
        _ => errors.invalid(path, format!("{{{}}}", set.join(", ")), detail),
    }
}

/// Any quantity counts; only how many there are is coded.
fn coded_counters(of: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let counters = of.map("counters").len();
    if counters > MAX_COUNTERS {
        errors.too_many(&path.child("counters"), counters, MAX_COUNTERS);
    }
}

fn attribute(attribute: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let text = |field: &str| attribute[field].as_str();
    if text("string").is_some_and(|value| value.len() > MAX_VALUE_LENGTH) {
        errors.too_long(&path.child("string"), MAX_VALUE_LENGTH);
    }
    if let Some(version) = text("version") {
        self::version(version, &path.child("version"), errors);
    }
    for list in LISTS {
        let (at, values) = (path.child(list), &attribute[list]);
        if values.as_array().is_some_and(Vec::is_empty) {
            errors.invalid(&at, values.clone(), "must not be empty if specified");
        }
        for (i, value) in texts(attribute, list).enumerate() {
            match list {
                "strings" if value.len() > MAX_VALUE_LENGTH => errors.too_long(&at.index(i), MAX_VALUE_LENGTH),
                "versions" => version(value, &at.index(i), errors),
                _ => {}
            }
        }
    }
}

fn version(version: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if !is_semantic(version) {
        errors.invalid(path, version, "must be a string compatible with semver.org spec 2.0.0");
    }
    if version.len() > MAX_VALUE_LENGTH {
        errors.too_long(path, MAX_VALUE_LENGTH);
    }
}

/// `1.2.3-alpha.1+build.7`
fn is_semantic(version: &str) -> bool {
    let (version, build) = version.split_once('+').map_or((version, None), |(version, build)| (version, Some(build)));
    let (version, pre_release) = version.split_once('-').map_or((version, None), |(version, pre)| (version, Some(pre)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let number = |part: &str| digits(part) && (part == "0" || !part.starts_with('0'));
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let numbers: Vec<&str> = version.split('.').collect();
    numbers.len() == 3
        && numbers.iter().all(|part| number(part))
        && pre_release.is_none_or(|all| all.split('.').all(|part| word(part) && (!digits(part) || number(part))))
        && build.is_none_or(|all| all.split('.').all(word))
}

fn declared(spec: &Value, old: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec");
    if !crate::equality::same_field(spec, old, "devices") {
        let at = path.child("devices");
        let known = old.list("devices");
        for (i, device) in spec.list("devices").iter().enumerate().filter(|(_, device)| !known.contains(device)) {
            declared_device(device, &at.index(i), errors);
        }
    }
    let (at, sets) = (path.child("sharedCounters"), spec.list("sharedCounters"));
    at_most(sets, MAX_COUNTER_SETS, &at, errors);
    if sets.len() <= MAX_COUNTER_SETS {
        unique(sets, |set| set.text("name"), &at, errors);
    }
    for (i, set) in few(sets, MAX_COUNTER_SETS) {
        counters(set, "name", &at.index(i), errors);
    }
}

fn declared_device(device: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("attributes");
    for (name, value) in device.map("attributes") {
        one_value(value, &at.key(name), errors);
    }
    let (at, consumptions) = (path.child("consumesCounters"), device.list("consumesCounters"));
    at_most(consumptions, MAX_CONSUMPTIONS, &at, errors);
    if consumptions.len() <= MAX_CONSUMPTIONS {
        unique(consumptions, |consumption| consumption.text("counterSet"), &at, errors);
    }
    for (i, consumption) in few(consumptions, MAX_CONSUMPTIONS) {
        counters(consumption, "counterSet", &at.index(i), errors);
    }
    let at = path.child("taints");
    device.list("taints").iter().enumerate().for_each(|(i, taint)| effect(taint, &at.index(i), errors));
    binding_conditions_counts(device, path, errors);
}

fn one_value(attribute: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let is_set = |field: &str| match &attribute[field] {
        Value::Array(items) => !items.is_empty(),
        value => !value.is_null(),
    };
    let quoted = |fields: Vec<&str>| fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
    let set: Vec<&str> = KINDS_OF_VALUES.into_iter().filter(|field| is_set(field)).collect();
    let all = quoted(KINDS_OF_VALUES.to_vec());
    match set.len() {
        0 => errors.invalid(path, "", format!("must specify one of: {all}")),
        1 => {}
        _ => errors.invalid(path, format!("{{{}}}", set.join(", ")), format!("must specify exactly one of: {all}")),
    }
}

/// Counters by name, and the name of the whole.
fn counters(of: &Value, name_field: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let short_name = |name: &str, path: &Path<'_>, errors: &mut ErrorList| {
        errors.each_invalid(path, name, in_bytes(names::dns1123_label(name)));
    };
    let at = path.child(name_field);
    match of.text(name_field) {
        "" => errors.required(&at, ""),
        name => short_name(name, &at, errors),
    }
    let (at, counters) = (path.child("counters"), of.map("counters"));
    if counters.is_empty() {
        errors.required(&at, "");
    }
    counters.keys().for_each(|name| short_name(name, &at, errors));
}
