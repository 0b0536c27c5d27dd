//! Which IP families a Service has: `ipFamilyPolicy`, `ipFamilies` (KEP 563).

use std::net::IpAddr;

use orlop_api::field::{ErrorList, Path};
use orlop_api::kinds::core::service;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use serde_json::json;

use super::ip_pool::Family;
use super::texts;

const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";

pub fn is_external_name(service: &Value) -> bool {
    service["spec"]["type"] == "ExternalName"
}

pub fn is_headless(service: &Value) -> bool {
    texts(&service["spec"]["clusterIPs"]).next() == Some("None") || service["spec"]["clusterIP"] == "None"
}

fn has_selector(service: &Value) -> bool {
    service["spec"]["selector"].as_object().is_some_and(|selector| !selector.is_empty())
}

fn policy(service: &Value) -> &str {
    service["spec"]["ipFamilyPolicy"].as_str().unwrap_or(SINGLE)
}

fn count(service: &Value, field: &str) -> usize {
    service["spec"][field].as_array().map_or(0, Vec::len)
}

/// Whether an update leaves a PreferDualStack Service as it is, whatever the cluster has become.
pub fn is_settled(service: &Value, old: Option<&Value>) -> bool {
    let Some(old) = old else { return false };
    let (new_spec, old_spec) = (&service["spec"], &old["spec"]);
    new_spec["ipFamilyPolicy"] == PREFER
        && (old_spec["ipFamilyPolicy"] == PREFER || old_spec["ipFamilyPolicy"].is_null())
        && new_spec["type"] == old_spec["type"]
        && !is_external_name(service)
        && new_spec["clusterIPs"] == old_spec["clusterIPs"]
        && new_spec["ipFamilies"] == old_spec["ipFamilies"]
}

/// Fills in policy and families; 422 where they contradict themselves or the cluster.
pub fn initialise(service: &mut Value, old: Option<&Value>, available: &[Family]) -> Result<(), StatusError> {
    if is_external_name(service) || is_settled(service, old) {
        return Ok(());
    }
    default_policy(service, old);
    reject(service, service::cluster_ip_errors(service, old))?;
    let mut errors = ErrorList::default();
    if let Some(old) = old {
        shrink(service, old, &mut errors);
    }
    check_single_stack(service, &mut errors);
    infer_from_addresses(service, available, &mut errors);
    reject(service, errors)?;
    let default = available.first().copied().unwrap_or(Family::V4);
    if is_headless(service) && !has_selector(service) {
        add_families(service, default, policy(service) != SINGLE);
        return Ok(());
    }
    check_available(service, available)?;
    let dual = policy(service) != SINGLE && available.len() == 2;
    add_families(service, default, dual);
    Ok(())
}

fn default_policy(service: &mut Value, old: Option<&Value>) {
    if service["spec"]["ipFamilyPolicy"].is_string() {
        return;
    }
    let inherited = old.and_then(|old| old["spec"]["ipFamilyPolicy"].as_str());
    let chosen = match inherited {
        Some(policy) => policy,
        None if is_headless(service) && !has_selector(service) => REQUIRE,
        None => SINGLE,
    };
    meta::child_mut(service, "spec").insert("ipFamilyPolicy".into(), chosen.into());
}

/// Setting the policy to single-stack gives the second family up; anything else must say so.
fn shrink(service: &mut Value, old: &Value, errors: &mut ErrorList) {
    let single = policy(service) == SINGLE;
    for (field, what) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
        if single {
            if service["spec"][field] == old["spec"][field]
                && let Some(list) = service["spec"][field].as_array_mut()
            {
                list.truncate(1);
            }
        } else if count(service, field) > 0 && count(service, field) < count(old, field) {
            let path = Path::new("spec.ipFamilyPolicy");
            let detail = format!("must be 'SingleStack' to release the secondary {what}");
            errors.invalid(&path, policy(service), detail);
        }
    }
}

fn check_single_stack(service: &Value, errors: &mut ErrorList) {
    if policy(service) != SINGLE {
        return;
    }
    for (field, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
        if count(service, field) == 2 {
            let path = Path::new("spec.ipFamilyPolicy");
            let detail = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
            errors.invalid(&path, policy(service), detail);
        }
    }
}

/// A pinned address says its family where none is given.
fn infer_from_addresses(service: &mut Value, available: &[Family], errors: &mut ErrorList) {
    let addresses: Vec<Option<IpAddr>> = texts(&service["spec"]["clusterIPs"]).map(|ip| ip.parse().ok()).collect();
    for (i, ip) in addresses.into_iter().enumerate() {
        let Some(ip) = ip else { break };
        let family = Family::of(ip);
        if i < count(service, "ipFamilies") {
            continue;
        }
        if available.contains(&family) {
            push_family(service, family);
        } else {
            let path = Path::new("spec.clusterIPs");
            let detail = format!("{} is not configured on this cluster", family.name());
            errors.invalid(&path.index(i), service["spec"]["clusterIPs"].clone(), detail);
        }
    }
}

fn check_available(service: &Value, available: &[Family]) -> Result<(), StatusError> {
    let mut errors = ErrorList::default();
    if policy(service) == REQUIRE && available.len() < 2 {
        let detail = "this cluster is not configured for dual-stack services";
        errors.invalid(&Path::new("spec").child("ipFamilyPolicy"), policy(service), detail);
    }
    for (i, name) in texts(&service["spec"]["ipFamilies"]).enumerate() {
        if Family::parse(name).is_none_or(|family| !available.contains(&family)) {
            let path = Path::new("spec.ipFamilies");
            errors.invalid(&path.index(i), name, "not configured on this cluster");
        }
    }
    reject(service, errors)
}

/// The default family when there is none, and the other one for dual stack.
fn add_families(service: &mut Value, default: Family, dual: bool) {
    if count(service, "ipFamilies") == 0 {
        push_family(service, default);
    }
    if dual && count(service, "ipFamilies") == 1 {
        let first = texts(&service["spec"]["ipFamilies"]).next().and_then(Family::parse).unwrap_or(default);
        push_family(service, first.other());
    }
}

fn push_family(service: &mut Value, family: Family) {
    let list = meta::child_mut(service, "spec").entry("ipFamilies").or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    if let Value::Array(list) = list {
        list.push(family.name().into());
    }
}

pub fn reject(service: &Value, errors: ErrorList) -> Result<(), StatusError> {
    if errors.is_empty() { Ok(()) } else { Err(StatusError::invalid("", "Service", meta::name(service), &errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_and_families() {
        let (v4, both) = (&[Family::V4][..], &[Family::V4, Family::V6][..]);
        let cases = [
            (json!({}), v4, json!({"ipFamilyPolicy": SINGLE, "ipFamilies": ["IPv4"]})),
            (json!({"ipFamilyPolicy": PREFER}), v4, json!({"ipFamilyPolicy": PREFER, "ipFamilies": ["IPv4"]})),
            (
                json!({"ipFamilyPolicy": PREFER}),
                both,
                json!({"ipFamilyPolicy": PREFER, "ipFamilies": ["IPv4", "IPv6"]}),
            ),
            (
                json!({"clusterIP": "None", "clusterIPs": ["None"]}),
                v4,
                json!({"clusterIP": "None", "clusterIPs": ["None"], "ipFamilyPolicy": REQUIRE, "ipFamilies": ["IPv4", "IPv6"]}),
            ),
            (
                json!({"clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}}),
                v4,
                json!({"clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}, "ipFamilyPolicy": SINGLE,
                       "ipFamilies": ["IPv4"]}),
            ),
            (
                json!({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]}),
                both,
                json!({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"], "ipFamilyPolicy": SINGLE, "ipFamilies": ["IPv6"]}),
            ),
            (json!({"type": "ExternalName"}), v4, json!({"type": "ExternalName"})),
        ];
        for (spec, available, want) in cases {
            let mut service = json!({"metadata": {"name": "s"}, "spec": spec});
            initialise(&mut service, None, available).unwrap();
            assert_eq!(service["spec"], want);
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let cases = [
            (
                json!({"ipFamilyPolicy": REQUIRE}),
                r#"Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services"#,
            ),
            (
                json!({"ipFamilies": ["IPv6"]}),
                r#"Service "s" is invalid: spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster"#,
            ),
            (
                json!({"ipFamilyPolicy": SINGLE, "ipFamilies": ["IPv4", "IPv6"]}),
                r#"Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "SingleStack": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"#,
            ),
        ];
        for (spec, want) in cases {
            let mut service = json!({"metadata": {"name": "s"}, "spec": spec});
            assert_eq!(initialise(&mut service, None, &[Family::V4]).unwrap_err().message, want);
        }
    }
}
