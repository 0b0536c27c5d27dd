//! Devices (`resource.k8s.io`): DeviceTaintRules and DeviceClasses, and of claims and their templates the metadata and
//! that what they ask for stays. What a claim or a slice may say in detail is not checked yet.

use serde_json::Value;

use super::prelude::*;
use super::volumes::csi_driver;
use crate::names;
use crate::object_meta::subdomain_rule;

const MAX_POOL_NAME: usize = 253;
const MAX_PARAMETERS: usize = 10 * 1024;

pub(crate) fn taint_rule(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    rule(&obj["spec"], true, errors);
}

pub(crate) fn taint_rule_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    rule(&obj["spec"], obj.text("spec.taint.effect") != old.text("spec.taint.effect"), errors);
}

pub(crate) fn taint_rule_status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
}

fn rule(spec: &Value, check_effect: bool, errors: &mut ErrorList) {
    let (selector, path) = (&spec["deviceSelector"], Path::new("spec.deviceSelector"));
    if let Some(driver) = selector["driver"].as_str() {
        csi_driver(driver, &path.child("driver"), errors);
    }
    if let Some(pool) = selector["pool"].as_str() {
        pool_name(pool, &path.child("pool"), errors);
    }
    if let Some(device) = selector["device"].as_str() {
        dns1123_label(device, &path.child("device"), errors);
    }
    let (taint, path) = (&spec["taint"], Path::new("spec.taint"));
    qualified_name(taint.text("key"), &path.child("key"), errors);
    let value = taint.text("value");
    errors.each_invalid(&path.child("value"), value, names::label_value(value));
    match taint.text("effect") {
        _ if !check_effect => {}
        "" => errors.required(&path.child("effect"), ""),
        effect => one_of(effect, &["NoExecute", "NoSchedule", "None"], &path.child("effect"), errors),
    }
}

fn pool_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    if name.len() > MAX_POOL_NAME {
        errors.too_long(path, MAX_POOL_NAME);
    }
    name.split('/').for_each(|part| dns1123_subdomain(part, path, errors));
}

pub(crate) fn class(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    class_spec(&obj["spec"], errors);
}

pub(crate) fn class_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    metadata_update(obj, old, errors);
    class_spec(&obj["spec"], errors);
}

fn class_spec(spec: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec.selectors");
    for (i, _) in spec.list("selectors").iter().enumerate().filter(|(_, selector)| !selector.has("cel")) {
        errors.required(&path.index(i).child("cel"), "");
    }
    let path = Path::new("spec.config");
    for (i, config) in spec.list("config").iter().enumerate() {
        let (at, opaque) = (path.index(i), &config["opaque"]);
        let at = at.child("opaque");
        if opaque.is_null() {
            errors.required(&at, "");
            continue;
        }
        parameters(&opaque["parameters"], &at.child("parameters"), errors);
        required(opaque, "driver", &at, errors);
    }
}

fn parameters(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match value {
        Value::Null => errors.required(path, ""),
        Value::Object(_) if value.to_string().len() > MAX_PARAMETERS => errors.too_long(path, MAX_PARAMETERS),
        Value::Object(_) => {}
        _ => errors.invalid(path, "<value omitted>", "must be a valid JSON object"),
    }
}

pub(crate) fn claim(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
}

pub(crate) fn claim_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    metadata_update(obj, old, errors);
    kept_spec(obj, old, errors);
}

pub(crate) fn template(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    let path = Path::new("spec.metadata");
    for field in obj.map("spec.metadata").keys() {
        if !matches!(field.as_str(), "annotations" | "labels" | "creationTimestamp") {
            errors.forbidden(&path.child(field), "cannot be set");
        }
    }
}

pub(crate) fn template_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    kept_spec(obj, old, errors);
}

fn kept_spec(obj: &Value, old: &Value, errors: &mut ErrorList) {
    if !crate::equality::same_field(obj, old, "spec") {
        errors.invalid(&Path::new("spec"), Value::Null, IMMUTABLE);
    }
}

pub(crate) fn slice(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
}

pub(crate) fn slice_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    metadata_update(obj, old, errors);
}
