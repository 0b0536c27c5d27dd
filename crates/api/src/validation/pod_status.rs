//! `status` of a pod, as its node reports it.

use serde_json::Value;

use super::network::{is_dual_stack, legacy_ip};
use super::options::Options;
use super::pod_annotations;
use super::prelude::*;
use crate::object_meta::subdomain_rule;

pub(crate) fn status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    let options = Options::of_changed(old, true);
    metadata_update(obj, old, errors);
    pod_annotations::update(obj, old, &Path::new("metadata.annotations"), &options, errors);
    let path = Path::new("status");
    conditions(obj, &path.child("conditions"), errors);
    if obj.text("spec.nodeName") != old.text("spec.nodeName") {
        errors.forbidden(&path.child("nodeName"), "may not be changed directly");
    }
    nominated_node(obj, old, &path.child("nominatedNodeName"), errors);
    if obj.int("status.observedGeneration") < 0 {
        let at = path.child("observedGeneration");
        errors.invalid(&at, obj.int("status.observedGeneration"), "must be a non-negative integer");
    }
    immutable_text(obj.at("status.qosClass"), old.at("status.qosClass"), &path.child("qosClass"), errors);
    transitions(obj, old, &path, errors);
    claim_statuses(obj, &path.child("resourceClaimStatuses"), errors);
    extended_claim(obj, &path.child("extendedResourceClaimStatus"), errors);
    pod_ips(obj, old, &path.child("podIPs"), errors);
    host_ips(obj, old, &path.child("hostIPs"), errors);
    for field in STATUSES {
        users(obj, field, &path.child(field), errors);
    }
    for (field, containers) in
        [("containerStatuses", "spec.containers"), ("initContainerStatuses", "spec.initContainers")]
    {
        allocated_resources(obj, field, obj.list(containers), &path.child(field), errors);
    }
    let at = path.child("ephemeralContainerStatuses");
    for (i, status) in obj.list("status.ephemeralContainerStatuses").iter().enumerate() {
        if !status.list("allocatedResourcesStatus").is_empty() {
            let detail = "must not be specified in container status";
            errors.forbidden(&at.index(i).child("allocatedResourcesStatus"), detail);
        }
    }
}

/// The claim that stands for extended resources (KEP 5004).
fn extended_claim(obj: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let status = obj.at("status.extendedResourceClaimStatus");
    if status.is_null() {
        return;
    }
    let (mappings, at) = (status.list("requestMappings"), path.child("requestMappings"));
    if mappings.is_empty() {
        errors.required(&at, "at least one request mapping is required");
    }
    let containers = || obj.list("spec.containers").iter().chain(obj.list("spec.initContainers"));
    for (i, mapping) in mappings.iter().enumerate() {
        let (at, name, resource) = (at.index(i), mapping.text("containerName"), mapping.text("resourceName"));
        match containers().find(|container| container.text("name") == name) {
            None => {
                let detail = "must match the name of an entry in spec.initContainers.name or spec.containers.name";
                errors.invalid(&at.child("containerName"), name, detail);
            }
            Some(container) if !container.map("resources.requests").contains_key(resource) => {
                let detail = "must match the extended resource name of an entry in \
                              spec.initContainers.resources.requests or spec.containers.resources.requests";
                errors.invalid(&at.child("resourceName"), resource, detail);
            }
            Some(_) => {}
        }
        dns1123_label(mapping.text("requestName"), &path.child("requestName"), errors);
        if mappings[..i].contains(mapping) {
            for field in ["containerName", "resourceName", "requestName"] {
                errors.duplicate(&at.child(field), mapping[field].clone());
            }
        }
    }
    match status.text("resourceClaimName") {
        "" => errors.required(&path.child("resourceClaimName"), ""),
        name => errors.each_invalid(&path.child("resourceClaimName"), name, subdomain_rule(name, false)),
    }
}

const STATUSES: [&str; 3] = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];

fn conditions(obj: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for (i, condition) in obj.list("status.conditions").iter().enumerate() {
        let path = path.index(i);
        if condition.int("observedGeneration") < 0 {
            let at = path.child("observedGeneration");
            errors.invalid(&at, condition.int("observedGeneration"), "must be a non-negative integer");
        }
        let ty = condition.text("type");
        if !matches!(ty, "PodScheduled" | "Ready" | "Initialized") {
            qualified_name(ty, &path.child("Type"), errors);
        }
    }
}

fn nominated_node(obj: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let name = obj.text("status.nominatedNodeName");
    if name.is_empty() || name == old.text("status.nominatedNodeName") {
        return;
    }
    errors.each_invalid(path, name, subdomain_rule(name, false));
    if !old.text("spec.nodeName").is_empty() {
        errors.forbidden(path, "may not be set on pods that are already bound to a node");
    }
}

/// A container that has ended stays so, unless its policy starts it again.
fn transitions(obj: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let spec = &old["spec"];
    let policies = [Some("containers"), Some("initContainers"), None];
    let all_restart = ["containers", "initContainers"].iter().any(|field| {
        let rules = spec.list(field).iter().flat_map(|container| container.list("restartPolicyRules"));
        rules.into_iter().any(|rule| rule.text("action") == "RestartAllContainers")
    });
    for (field, containers) in STATUSES.into_iter().zip(policies) {
        if all_restart && containers.is_some() {
            continue;
        }
        let path = path.child(field);
        for (i, was) in old["status"].list(field).iter().enumerate() {
            let Some(code) = was
                .at("state.terminated")
                .get("exitCode")
                .or(Some(&Value::Null))
                .filter(|_| was.at("state").has("terminated"))
            else {
                continue;
            };
            let name = was.text("name");
            let revived = obj["status"]
                .list(field)
                .iter()
                .any(|now| now.text("name") == name && !now.at("state").has("terminated"));
            let container =
                containers.and_then(|c| spec.list(c).iter().find(|container| container.text("name") == name));
            let allowed = container.is_some_and(|c| restarts(c, spec, code.as_i64().unwrap_or_default()));
            if revived && !allowed {
                errors.forbidden(&path.index(i).child("state"), "may not be transitioned to non-terminated state");
            }
        }
    }
}

/// Whether an exit with this code is followed by another start (`podutil.ContainerShouldRestart`).
fn restarts(container: &Value, spec: &Value, code: i64) -> bool {
    for rule in container.list("restartPolicyRules") {
        let listed = rule.list("exitCodes.values").iter().any(|value| value.as_i64() == Some(code));
        let matches = match rule.text("exitCodes.operator") {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        };
        if matches {
            return matches!(rule.text("action"), "Restart" | "RestartAllContainers");
        }
    }
    let policy = match container.text("restartPolicy") {
        "" => spec.text("restartPolicy"),
        policy => policy,
    };
    policy == "Always" || policy == "OnFailure" && code != 0
}

fn claim_statuses(obj: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut taken: Vec<&str> = Vec::new();
    for (i, status) in obj.list("status.resourceClaimStatuses").iter().enumerate() {
        let (path, name) = (path.index(i), status.text("name"));
        if !obj.list("spec.resourceClaims").iter().any(|claim| claim.text("name") == name) {
            let detail = "must match the name of an entry in `spec.resourceClaims`";
            errors.invalid(&path.child("name"), name, detail);
        }
        if taken.contains(&name) {
            errors.duplicate(&path.child("name"), name);
        } else {
            taken.push(name);
        }
        if let Some(claim) = status["resourceClaimName"].as_str() {
            dns1123_subdomain(claim, &path.child("resourceClaimName"), errors);
        }
    }
}

/// The list as upstream's internal type prints it.
fn internal_ips(list: &[Value]) -> Value {
    list.iter().map(|ip| serde_json::json!({ "IP": ip["ip"] })).collect()
}

fn addresses(list: &[Value]) -> Vec<Value> {
    list.iter().map(|ip| ip["ip"].clone()).collect()
}

fn checked_ips(list: &[Value], old: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
    let old = addresses(old);
    for (i, ip) in list.iter().enumerate() {
        legacy_ip(ip.text("ip"), &old, &path.index(i), errors);
    }
}

fn one_of_each_family(list: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
    if list.len() < 2 {
        return;
    }
    let dual = is_dual_stack(list.iter().map(|ip| ip.text("ip")));
    if dual.is_none() {
        let mut all = list.iter().map(|ip| ip.text("ip")).enumerate();
        let what = match all.find(|(_, ip)| super::network::parse_ip_sloppy(ip).is_none()) {
            Some((i, "")) => format!("invalid IP[{i}]: "),
            bad => format!("ip {} is invalid", bad.unwrap_or_default().1),
        };
        errors.internal(path, format!("failed to check for dual stack with error:{what}"));
    }
    if dual != Some(true) || list.len() > 2 {
        errors.invalid(path, internal_ips(list), "may specify no more than one IP for each IP family");
    }
}

fn pod_ips(obj: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (list, first) = (obj.list("status.podIPs"), obj.text("status.podIP"));
    checked_ips(list, old.list("status.podIPs"), path, errors);
    one_of_each_family(list, path, errors);
    if first.is_empty() != list.is_empty() {
        let detail = "podIP and podIPs must either both be set or both be unset";
        errors.invalid(path, if list.is_empty() { Value::Null } else { internal_ips(list) }, detail);
    } else if list.first().is_some_and(|ip| ip.text("ip") != first) {
        errors.invalid(&path.index(0).child("ip"), list[0].text("ip"), "must be equal to `podIP`");
    }
}

fn host_ips(obj: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let list = obj.list("status.hostIPs");
    if list.first().is_some_and(|ip| ip.text("ip") != obj.text("status.hostIP")) {
        errors.invalid(&path.index(0).child("ip"), list[0].text("ip"), "must be equal to `hostIP`");
    }
    checked_ips(list, old.list("status.hostIPs"), path, errors);
    one_of_each_family(list, path, errors);
}

fn users(obj: &Value, field: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let is_windows = obj.text("spec.os.name") == "windows";
    for (i, status) in obj["status"].list(field).iter().enumerate() {
        let user = status.at("user.linux");
        if user.is_null() {
            continue;
        }
        let path = path.index(i);
        let path = path.child("user.linux");
        if is_windows {
            errors.forbidden(&path, "cannot be set for a windows pod");
            continue;
        }
        in_range(user.int("uid"), 0, u32::MAX.into(), &path.child("uid"), errors);
        id(&user["gid"], &path.child("gid"), errors);
        let groups = path.child("supplementalGroups");
        for (i, group) in user.list("supplementalGroups").iter().enumerate() {
            id(group, &groups.index(i), errors);
        }
    }
}

fn allocated_resources(obj: &Value, field: &str, containers: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
    for (i, status) in obj["status"].list(field).iter().enumerate() {
        let container = containers.iter().find(|container| container["name"] == status["name"]);
        let path = path.index(i);
        let path = path.child("allocatedResourcesStatus");
        for (i, allocated) in status.list("allocatedResourcesStatus").iter().enumerate() {
            let (path, name) = (path.index(i), allocated.text("name"));
            if let Some(detail) = container.and_then(|container| unknown_resource(obj, container, name)) {
                errors.invalid(&path.child("name"), name, detail);
            }
            let path = path.child("resources");
            let resources = allocated.list("resources");
            for (i, resource) in resources.iter().enumerate() {
                let path = path.index(i);
                let healths = ["Healthy", "Unhealthy", "Unknown"];
                one_of(resource.text("health"), &healths, &path.child("health"), errors);
                health_message(&resource["message"], &path.child("message"), errors);
                if resources[..i].iter().any(|other| other["resourceID"] == resource["resourceID"]) {
                    errors.duplicate(&path.child("resourceID"), resource.text("resourceID"));
                }
            }
        }
    }
}

const MAX_HEALTH_MESSAGE: usize = 1024;

fn health_message(message: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match message.as_str() {
        Some("") => errors.required(path, "must be non-empty if specified"),
        Some(text) if text.len() > MAX_HEALTH_MESSAGE => errors.too_long(path, MAX_HEALTH_MESSAGE),
        _ => {}
    }
}

fn unknown_resource(obj: &Value, container: &Value, name: &str) -> Option<&'static str> {
    let Some(claim) = name.strip_prefix("claim:") else {
        let known = container.map("resources.requests").contains_key(name);
        return (!known).then_some("must match one of the container's resource requests");
    };
    let known = container.list("resources.claims").iter().any(|own| match own.text("request") {
        "" => claim == own.text("name"),
        request => claim == format!("{}/{request}", own.text("name")),
    });
    let extended = obj.at("status.extendedResourceClaimStatus");
    let by_mapping = claim.split_once('/').is_some_and(|(claim, request)| {
        claim == extended.text("resourceClaimName")
            && extended.list("requestMappings").iter().any(|mapping| {
                mapping["containerName"] == container["name"]
                    && mapping.text("requestName") == request
                    && container.map("resources.requests").contains_key(mapping.text("resourceName"))
            })
    });
    (!known && !by_mapping).then_some(
        "must match one of the container's resource claims as 'claim:<claimName>/<requestName>' when \
         container.resources.claims[*].request is set or 'claim:<claimName>' when it is empty",
    )
}
