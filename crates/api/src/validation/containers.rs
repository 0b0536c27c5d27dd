//! Containers of a pod: the regular, the initial and the ephemeral.

use std::collections::BTreeSet;

use serde_json::Value;

use super::env::{env, env_from};
use super::mounts::{devices, mounts};
use super::options::Options;
use super::prelude::*;
use super::probes::{lifecycle, probes};
use super::resources::{Holder, requirements};
use super::security::container_security_context;
use super::volumes::{Volumes, pull_policy};
use crate::names;

/// What a container's rules must know of its pod.
pub(crate) struct Context<'a> {
    pub spec: &'a Value,
    pub volumes: Volumes<'a>,
    pub claim_names: Vec<&'a str>,
    pub grace_seconds: Option<i64>,
    pub os: Option<&'a str>,
    pub options: &'a Options,
}

impl Context<'_> {
    /// Whether the pod lives in the host's user namespace.
    pub fn host_users(&self) -> bool {
        self.spec["hostUsers"] != false
    }
}

pub(crate) fn containers(context: &Context<'_>, path: &Path<'_>, errors: &mut ErrorList) {
    let containers = context.spec.list("containers");
    if containers.is_empty() {
        return errors.required(path, "");
    }
    let mut taken = BTreeSet::new();
    for (i, container) in containers.iter().enumerate() {
        let path = path.index(i);
        common(container, context, &path, errors);
        if !taken.insert(container.text("name")) {
            errors.duplicate(&path.child("name"), container.text("name"));
        }
        running(container, context, &path, errors);
        restart_policy(container, false, &path, errors);
    }
    host_ports(containers, path, errors);
}

/// What is done to a container while it runs.
fn running(container: &Value, context: &Context<'_>, path: &Path<'_>, errors: &mut ErrorList) {
    if container.has("lifecycle") {
        let at = path.child("lifecycle");
        lifecycle(&container["lifecycle"], context.os, context.grace_seconds, &at, errors);
    }
    probes(container, context.grace_seconds, path, errors);
}

pub(crate) fn init_containers(context: &Context<'_>, path: &Path<'_>, errors: &mut ErrorList) {
    let containers = context.spec.list("initContainers");
    if containers.is_empty() {
        return;
    }
    let mut taken: BTreeSet<&str> = context.spec.list("containers").iter().map(|c| c.text("name")).collect();
    for (i, container) in containers.iter().enumerate() {
        let at = path.index(i);
        common(container, context, &at, errors);
        restart_policy(container, true, &at, errors);
        let name = container.text("name");
        if !taken.insert(name) && !name.is_empty() {
            errors.duplicate(&at.child("name"), name);
        }
        host_ports(std::slice::from_ref(container), path, errors);
        if container.text("restartPolicy") == "Always" {
            running(container, context, &at, errors);
        } else {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if container.has(field) {
                    let detail = "may not be set for init containers without restartPolicy=Always";
                    errors.forbidden(&at.child(field), detail);
                }
            }
            if !context.options.allow_init_restart_on_resize {
                no_restart_on_resize(container, &at.child("resizePolicy"), errors);
            }
        }
    }
}

fn no_restart_on_resize(container: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for (i, policy) in container.list("resizePolicy").iter().enumerate() {
        if policy.text("restartPolicy") == "RestartContainer" {
            let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
            errors.invalid(&path.index(i).child("restartPolicy"), "RestartContainer", detail);
        }
    }
}

const EPHEMERAL_FORBIDDEN: &[&str] = &[
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

pub(crate) fn ephemeral_containers(context: &Context<'_>, path: &Path<'_>, errors: &mut ErrorList) {
    let ephemeral = context.spec.list("ephemeralContainers");
    if ephemeral.is_empty() {
        return;
    }
    let spec = context.spec;
    let others = || spec.list("containers").iter().chain(spec.list("initContainers")).map(|c| c.text("name"));
    let mut taken: BTreeSet<&str> = others().collect();
    for (i, container) in ephemeral.iter().enumerate() {
        let path = path.index(i);
        common(container, context, &path, errors);
        image_is_trimmed(container, &path, errors);
        if !taken.insert(container.text("name")) {
            errors.duplicate(&path.child("name"), container.text("name"));
        }
        let target = container.text("targetContainerName");
        if !target.is_empty() && !others().any(|name| name == target) {
            errors.not_found(&path.child("targetContainerName"), target);
        }
        for field in EPHEMERAL_FORBIDDEN.iter().filter(|field| is_set(&container[**field])) {
            errors.forbidden(&path.child(field), "cannot be set for an Ephemeral Container");
        }
        let mounts = path.child("volumeMounts");
        for (i, mount) in container.list("volumeMounts").iter().enumerate() {
            for field in ["subPath", "subPathExpr"].into_iter().filter(|field| !mount.text(field).is_empty()) {
                errors.forbidden(&mounts.index(i).child(field), "cannot be set for an Ephemeral Container");
            }
        }
    }
}

/// Not Go's zero value. Absent and empty lists differ there, but not after a round trip.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

/// What holds for every container.
fn common(container: &Value, context: &Context<'_>, path: &Path<'_>, errors: &mut ErrorList) {
    let name = container.text("name");
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    } else {
        dns1123_label(name, &path.child("name"), errors);
    }
    required(container, "image", path, errors);
    let policy_at = path.child("terminationMessagePolicy");
    match container.text("terminationMessagePolicy") {
        "" => errors.required(&policy_at, ""),
        policy => one_of(policy, &["File", "FallbackToLogsOnError"], &policy_at, errors),
    }
    ports(container, &path.child("ports"), errors);
    env(container, &path.child("env"), errors);
    env_from(container, &path.child("envFrom"), errors);
    mounts(container, &context.volumes, &path.child("volumeMounts"), errors);
    devices(container, &context.volumes, &path.child("volumeDevices"), errors);
    pull_policy(container.text("imagePullPolicy"), &path.child("imagePullPolicy"), errors);
    let at = path.child("resources");
    requirements(&container["resources"], Holder::Container, &context.claim_names, &at, context.options, errors);
    resize_policy(container, context.spec.text("restartPolicy"), &path.child("resizePolicy"), errors);
    let at = path.child("securityContext");
    container_security_context(&container["securityContext"], context, &at, errors);
}

fn ports(container: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut taken = BTreeSet::new();
    for (i, port) in container.list("ports").iter().enumerate() {
        let path = path.index(i);
        let (name, name_path) = (port.text("name"), path.child("name"));
        if !name.is_empty() {
            let problems = names::port_name(name);
            if !problems.is_empty() {
                errors.each_invalid(&name_path, name, problems);
            } else if !taken.insert(name) {
                errors.duplicate(&name_path, name);
            }
        }
        match port.int("containerPort") {
            0 => errors.required(&path.child("containerPort"), ""),
            number => in_range(number, 1, 65535, &path.child("containerPort"), errors),
        }
        if port.int("hostPort") != 0 {
            in_range(port.int("hostPort"), 1, 65535, &path.child("hostPort"), errors);
        }
        match port.text("protocol") {
            "" => errors.required(&path.child("protocol"), ""),
            protocol => one_of(protocol, PROTOCOLS, &path.child("protocol"), errors),
        }
    }
}

pub(crate) const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// No two containers may ask for the same port of the host.
fn host_ports(containers: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
    let mut taken = BTreeSet::new();
    for (i, container) in containers.iter().enumerate() {
        let at = path.index(i);
        let at = at.child("ports");
        for (i, port) in container.list("ports").iter().enumerate().filter(|(_, port)| port.int("hostPort") != 0) {
            let key = format!("{}/{}/{}", port.text("protocol"), port.text("hostIP"), port.int("hostPort"));
            if taken.contains(&key) {
                errors.duplicate(&at.index(i).child("hostPort"), key);
            } else {
                taken.insert(key);
            }
        }
    }
}

fn resize_policy(container: &Value, pod_restart_policy: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let mut taken = BTreeSet::new();
    for (i, policy) in container.list("resizePolicy").iter().enumerate() {
        let (resource, restart) = (policy.text("resourceName"), policy.text("restartPolicy"));
        if !taken.insert(resource) {
            errors.duplicate(&path.index(i), resource);
        }
        match resource {
            "" => errors.required(path, ""),
            _ => one_of(resource, &["cpu", "memory"], path, errors),
        }
        match restart {
            "" => errors.required(path, ""),
            _ => one_of(restart, &["NotRequired", "RestartContainer"], path, errors),
        }
        if pod_restart_policy == "Never" && restart != "NotRequired" {
            errors.invalid(path, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
        }
    }
}

/// Restart policies of single containers and their rules (KEP 5307, KEP 5532). Upstream does not look at the rules of
/// an init container that names no policy.
fn restart_policy(container: &Value, is_init: bool, path: &Path<'_>, errors: &mut ErrorList) {
    let rules = container.list("restartPolicyRules");
    let policy_at = path.child("restartPolicy");
    if !container.has("restartPolicy") {
        if !rules.is_empty() {
            errors.required(&policy_at, "must specify restartPolicy when restart rules are used");
        }
        if rules.is_empty() || is_init {
            return;
        }
    } else {
        one_of(container.text("restartPolicy"), &["Always", "Never", "OnFailure"], &policy_at, errors);
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > 20 {
        errors.too_many(&path, rules.len(), 20);
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = path.index(i);
        one_of(rule.text("action"), &["Restart", "RestartAllContainers"], &path.child("action"), errors);
        let at = path.child("exitCodes");
        if !rule.has("exitCodes") {
            errors.required(&at, "must be specified");
            continue;
        }
        one_of(rule.text("exitCodes.operator"), &["In", "NotIn"], &at.child("operator"), errors);
        let values = rule.list("exitCodes.values").len();
        if values > 255 {
            errors.too_many(&at.child("values"), values, 255);
        }
    }
}

/// Only for pods themselves: templates from before the rule may break it.
pub(crate) fn images_are_trimmed(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for field in ["containers", "initContainers"] {
        let path = path.child(field);
        for (i, container) in spec.list(field).iter().enumerate() {
            image_is_trimmed(container, &path.index(i), errors);
        }
    }
}

fn image_is_trimmed(container: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let image = container.text("image");
    if image.trim().len() != image.len() {
        errors.invalid(&path.child("image"), image, "must not have leading or trailing whitespace");
    }
}

/// Visits every container of a pod with its path, in upstream's order: initial, regular, ephemeral.
pub(crate) fn each_container(spec: &Value, path: &Path<'_>, mut visit: impl FnMut(&Value, &Path<'_>)) {
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        let path = path.child(field);
        for (i, container) in spec.list(field).iter().enumerate() {
            visit(container, &path.index(i));
        }
    }
}
