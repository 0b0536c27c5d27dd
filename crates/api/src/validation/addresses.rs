//! What Services' addresses are drawn from and taken by: ServiceCIDRs and IPAddresses.

use serde_json::{Value, json};

use super::network::{cidr, ip, parse_cidr_sloppy};
use super::prelude::*;
use crate::equality::same_field;
use crate::field::ErrorList;
use crate::names;
use crate::object_meta::subdomain_rule;

/// The object's name is the address itself.
fn address_rule(name: &str, _prefix: bool) -> Vec<String> {
    let mut errors = ErrorList::default();
    ip(name, &Path::default(), &mut errors);
    errors.0.into_iter().map(|error| error.detail).collect()
}

pub(crate) fn address(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, address_rule, errors);
    parent(&obj["spec"], false, errors);
    declared(&obj["spec"], errors);
}

pub(crate) fn address_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata(obj, false, address_rule, errors);
    let changed = !same_field(&obj["spec"], &old["spec"], "parentRef");
    parent(&obj["spec"], changed, errors);
    metadata_update(obj, old, errors);
    if changed {
        if !obj.has("spec.parentRef") {
            errors.required(&Path::new("spec.parentRef"), "");
        }
        errors.invalid(&Path::new("spec.parentRef"), Value::Null, IMMUTABLE);
    }
}

/// What is declared to be there is missed here only where the parent is refused whole (`changed`).
fn parent(spec: &Value, changed: bool, errors: &mut ErrorList) {
    if !spec.has("parentRef") {
        return;
    }
    let (parent, path) = (&spec["parentRef"], Path::new("spec.parentRef"));
    let group = parent.text("group");
    if !group.is_empty() {
        dns1123_subdomain(group, &path.child("group"), errors);
    }
    for field in ["resource", "name", "namespace"] {
        let name = parent.text(field);
        if !name.is_empty() {
            errors.each_invalid(&path.child(field), name, names::path_segment(name));
        } else if changed && field != "namespace" {
            errors.required(&path.child(field), "");
        }
    }
}

/// Declared, so upstream reports these last.
fn declared(spec: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec.parentRef");
    if !spec.has("parentRef") {
        return errors.required(&path, "");
    }
    for field in ["resource", "name"] {
        required(&spec["parentRef"], field, &path, errors);
    }
}

pub(crate) fn service_cidr(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    ranges(obj, errors);
}

fn ranges(obj: &Value, errors: &mut ErrorList) {
    let (cidrs, path) = (obj.list("spec.cidrs"), Path::new("spec.cidrs"));
    match cidrs.len() {
        0 => return errors.required(&path, "at least one CIDR required"),
        1 | 2 => {}
        _ => return errors.invalid(&path, json!({ "CIDRs": cidrs }), "may only hold up to 2 values"),
    }
    for (i, text) in texts(obj, "spec.cidrs").enumerate() {
        cidr(text, &path.index(i), errors);
    }
    let families: Option<Vec<bool>> =
        texts(obj, "spec.cidrs").map(|text| parse_cidr_sloppy(text).map(|(ip, _)| ip.is_ipv6())).collect();
    if families.is_some_and(|families| families.len() == 2 && families[0] == families[1]) {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.invalid(&path, cidrs.to_vec(), detail);
    }
}

pub(crate) fn service_cidr_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let (new, was, path) = (obj.list("spec.cidrs"), old.list("spec.cidrs"), Path::new("spec.cidrs"));
    let kept = match (was.len(), new.len()) {
        (was, new) if was == new => was,
        // A second family may be added (https://issues.k8s.io/131261).
        (1, 2) => 1,
        _ => return errors.invalid(&path, obj.at("spec.cidrs").clone(), IMMUTABLE),
    };
    for (i, (new, _)) in new.iter().zip(was).enumerate().take(kept).filter(|(_, (new, was))| new != was) {
        errors.invalid(&path.index(i), new.clone(), IMMUTABLE);
    }
    if new.len() != was.len() {
        ranges(obj, errors);
    }
}

pub(crate) fn service_cidr_status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
}
