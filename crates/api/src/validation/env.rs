//! A container's environment.

use serde_json::Value;

use super::prelude::*;
use crate::names;
use crate::object_meta::subdomain_rule;
use crate::quantity::Quantity;

pub(crate) fn env(container: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for (i, variable) in container.list("env").iter().enumerate() {
        let path = path.index(i);
        let name = variable.text("name");
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            errors.each_invalid(&path.child("name"), name, names::env_var(name));
        }
        if variable.has("valueFrom") {
            value_from(variable, &path.child("valueFrom"), errors);
        }
    }
}

const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

fn value_from(variable: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let source = &variable["valueFrom"];
    let mut count = 0;
    for field in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"] {
        let value = &source[field];
        if value.is_null() {
            continue;
        }
        count += 1;
        let path = path.child(field);
        match field {
            "fieldRef" => field_selector(value, ENV_FIELDS, &path, errors),
            "resourceFieldRef" => resource_selector(value, &path, false, errors),
            "fileKeyRef" => file_key(value, &path, errors),
            _ => key_reference(value, &path, errors),
        }
    }
    let has_value = !variable.text("value").is_empty();
    match count {
        0 => {
            let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or \
                          `fileKeyRef`";
            errors.invalid(path, "", detail);
        }
        _ if has_value => errors.invalid(path, "", "may not be specified when `value` is not empty"),
        1 => {}
        _ => errors.invalid(path, "", "may not have more than one field specified at a time"),
    }
}

fn key_reference(reference: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (name, key) = (reference.text("name"), reference.text("key"));
    errors.each_invalid(&path.child("name"), name, subdomain_rule(name, false));
    if key.is_empty() {
        errors.required(&path.child("key"), "");
    } else {
        errors.each_invalid(&path.child("key"), key, names::config_map_key(key));
    }
}

fn file_key(reference: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let (key, volume, file) = (reference.text("key"), reference.text("volumeName"), reference.text("path"));
    if key.is_empty() {
        errors.required(&path.child("key"), "");
    } else {
        errors.each_invalid(&path.child("key"), key, names::env_var(key));
    }
    if volume.is_empty() {
        errors.required(&path.child("volumeName"), "");
    } else {
        dns1123_label(volume, &path.child("volumeName"), errors);
    }
    if file.is_empty() {
        errors.required(&path.child("path"), "");
    } else {
        no_backsteps(file, &path.child("path"), errors);
    }
}

/// All variables of a ConfigMap or Secret.
pub(crate) fn env_from(container: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for (i, source) in container.list("envFrom").iter().enumerate() {
        let at = path.index(i);
        let prefix = source.text("prefix");
        if !prefix.is_empty() {
            errors.each_invalid(&at.child("prefix"), prefix, names::env_var(prefix));
        }
        let mut count = 0;
        for field in ["configMapRef", "secretRef"].into_iter().filter(|field| source.has(field)) {
            count += 1;
            let at = at.child(field);
            match source[field].text("name") {
                "" => errors.required(&at.child("name"), ""),
                name => errors.each_invalid(&at.child("name"), name, subdomain_rule(name, true)),
            }
        }
        match count {
            0 => errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(path, "", "may not have more than one field specified at a time"),
        }
    }
}

/// A field of the pod itself (`core.ObjectFieldSelector`).
pub(crate) fn field_selector(selector: &Value, fields: &[&str], path: &Path<'_>, errors: &mut ErrorList) {
    for field in ["apiVersion", "fieldPath"] {
        if selector.text(field).is_empty() {
            return errors.required(&path.child(field), "");
        }
    }
    let at = path.child("fieldPath");
    let (version, field) = (selector.text("apiVersion"), selector.text("fieldPath"));
    let subscript = field.strip_suffix("']").and_then(|f| f.split_once("['")).filter(|(head, _)| !head.is_empty());
    let why = match subscript {
        _ if version != "v1" => format!("unsupported pod version: {version}"),
        Some(("metadata.annotations", key)) => {
            return errors.each_invalid(path, &key.to_lowercase(), names::qualified_name(&key.to_lowercase()));
        }
        Some(("metadata.labels", key)) => return errors.each_invalid(path, key, names::qualified_name(key)),
        Some(_) => format!("field label does not support subscript: {field}"),
        None => match if field == "spec.host" { "spec.nodeName" } else { field } {
            known if fields.contains(&known) => return,
            known if POD_FIELDS.contains(&known) => return errors.not_supported(&at, known, fields),
            _ => format!("field label not supported: {field}"),
        },
    };
    errors.invalid(&at, field, format!("error converting fieldPath: {why}"));
}

const POD_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const RESOURCE_FIELDS: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// A request or limit of a container (`core.ResourceFieldSelector`).
pub(crate) fn resource_selector(selector: &Value, path: &Path<'_>, in_volume: bool, errors: &mut ErrorList) {
    let resource = selector.text("resource");
    if in_volume && selector.text("containerName").is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !RESOURCE_FIELDS.contains(&resource) && !is_huge_pages(resource) {
        errors.not_supported(&path.child("resource"), resource, RESOURCE_FIELDS);
    }
    divisor(resource, selector.text("divisor"), &path.child("divisor"), errors);
}

fn is_huge_pages(resource: &str) -> bool {
    resource.starts_with("requests.hugepages-") || resource.starts_with("limits.hugepages-")
}

fn divisor(resource: &str, divisor: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(divisor) = Quantity::parse(divisor).ok().filter(|d| !d.is_zero()) else { return };
    let divisor = divisor.to_string();
    let sizes = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let what = match resource {
        "limits.cpu" | "requests.cpu" => {
            if divisor != "1m" && divisor != "1" {
                let detail = "only divisor's values 1m and 1 are supported with the cpu resource";
                errors.invalid(path, resource, detail);
            }
            return;
        }
        "limits.memory" | "requests.memory" => "memory",
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => "local ephemeral storage",
        _ if is_huge_pages(resource) => "hugepages",
        _ => return,
    };
    if !sizes.contains(&divisor.as_str()) {
        let detail = format!("only divisor's values {} are supported with the {what} resource", sizes.join(", "));
        errors.invalid(path, resource, detail);
    }
}
