//! Cluster addresses and families of a Service (KEP 563).

use std::collections::BTreeSet;

use serde_json::Value;

use super::network::{is_dual_stack, is_ipv6, legacy_ip, parse_ip_sloppy};
use super::prelude::*;
use super::service::is_headless;

pub(crate) fn fields(obj: &Value, old: &Value, errors: &mut ErrorList) {
    let spec = &obj["spec"];
    if spec.text("type") == "ExternalName" {
        return;
    }
    let path = Path::new("spec.clusterIPs");
    let (first, ips) = (spec.text("clusterIP"), spec.list("clusterIPs"));
    match (first.is_empty(), ips.first()) {
        (false, None) => errors.required(&path, ""),
        (false, Some(ip)) if ip != first => {
            errors.invalid(&path, ips.to_vec(), "first value must match `clusterIP`");
        }
        (true, Some(_)) => errors.invalid(&path, ips.to_vec(), "must be empty when `clusterIP` is not specified"),
        _ => {}
    }
    families(spec, errors);
    if !addresses(spec, old, &path, errors) {
        return;
    }
    if ips.len() > 1 {
        let dual = is_dual_stack(texts(spec, "clusterIPs"));
        if dual.is_none() {
            let bad = texts(spec, "clusterIPs").find(|ip| parse_ip_sloppy(ip).is_none()).unwrap_or_default();
            errors.internal(&path, format!("failed to check for dual stack with error:ip {bad} is invalid"));
        }
        if dual != Some(true) {
            errors.invalid(&path, ips.to_vec(), "may specify no more than one IP for each IP family");
        }
    }
    if is_headless(obj) {
        return;
    }
    for (i, (ip, family)) in texts(spec, "clusterIPs").zip(texts(spec, "ipFamilies")).enumerate() {
        let wrong = match family {
            "IPv4" => is_ipv6(ip),
            "IPv6" => !is_ipv6(ip),
            _ => false,
        };
        if wrong {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(&path.index(i), ip, detail);
        }
    }
}

fn families(spec: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec.ipFamilies");
    let mut taken = BTreeSet::new();
    for (i, family) in texts(spec, "ipFamilies").enumerate() {
        one_of(family, &["IPv4", "IPv6"], &path.index(i), errors);
        if !taken.insert(family) {
            errors.duplicate(&path.index(i), family);
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    optional_one_of(&spec["ipFamilyPolicy"], &policies, &Path::new("spec.ipFamilyPolicy"), errors);
}

/// Whether all are addresses.
fn addresses(spec: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) -> bool {
    let ips = spec.list("clusterIPs");
    let mut good = true;
    for (i, ip) in texts(spec, "clusterIPs").enumerate() {
        if i == 0 && ip == "None" {
            if ips.len() > 1 {
                good = false;
                errors.invalid(path, ips.to_vec(), "'None' must be the first and only value");
            }
            continue;
        }
        let before = errors.0.len();
        legacy_ip(ip, old.list("spec.clusterIPs"), &path.index(i), errors);
        good &= errors.0.len() == before;
    }
    if ips.len() > 2 {
        errors.invalid(path, ips.to_vec(), "may only hold up to 2 values");
    }
    good
}

/// Addresses and families stay, but for the second of each, which may come and go.
pub(crate) fn changes(obj: &Value, old: &Value, errors: &mut ErrorList) {
    let is_external = |obj: &Value| obj.text("spec.type") == "ExternalName";
    if is_external(obj) || is_external(old) {
        return;
    }
    let headless = (is_headless(old), is_headless(obj));
    if headless != (true, true) {
        change(obj, old, "clusterIPs", "clusterIP", errors);
    }
    if headless == (false, false) {
        change(obj, old, "ipFamilies", "ipFamily", errors);
    }
}

fn change(obj: &Value, old: &Value, field: &str, what: &str, errors: &mut ErrorList) {
    let (new, was) = (obj["spec"].list(field), old["spec"].list(field));
    let (path, policy_path) = (Path::new("spec"), Path::new("spec.ipFamilyPolicy"));
    let path = path.child(field);
    let is_ips = field == "clusterIPs";
    let shown = |list: &[Value]| if list.is_empty() { Value::Null } else { list.to_vec().into() };
    if new.len() == was.len() {
        for (i, _) in was.iter().zip(new).enumerate().filter(|(_, (was, new))| was != new) {
            // Families are reported at the first, addresses at their own place.
            errors.invalid(&path.index(if is_ips { i } else { 0 }), shown(new), "may not change once set");
        }
        return;
    }
    let shrinks = new.len() < was.len();
    let ips = obj.list("spec.clusterIPs");
    if shrinks && ips.is_empty() {
        errors.invalid(&path.index(0), shown(new), format!("primary {what} can not be unset"));
    }
    if let (Some(was), Some(now)) = (was.first(), new.first())
        && was != now
    {
        // Upstream shows the addresses in either case.
        errors.invalid(&path.index(0), shown(ips), "may not change once set");
    }
    let policy = obj.at("spec.ipFamilyPolicy");
    if shrinks && new.len() == 1 && policy != "SingleStack" {
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {what}");
        errors.invalid(&policy_path, policy.clone(), detail);
    }
}
