//! A container's plan in the words of the OCI runtime specification, for a runtime that is not ours:
//! `config.json` in the container's directory, its root file system below. What the plan has compiled for
//! our own init (filters, device programs) is given beside it.

mod mounts;
mod process;
mod seccomp;

use std::path::Path;

use serde_json::{Value, json};

pub use process::process;

use crate::Resources;
use crate::cgroup::devices::{DeviceKind, DeviceRule};
use crate::plan::{ContainerPlan, PidNamespace};
use crate::spec::seccomp::Profile;

const VERSION: &str = "1.0.2";
/// Name of the specification in a bundle.
pub const CONFIG: &str = "config.json";

/// What a bundle says and a plan does not.
pub struct Beside<'a> {
    /// From the root of each hierarchy.
    pub cgroups_path: &'a str,
    pub resources: &'a Resources,
    /// Which devices may be used; `None` is all.
    pub devices: Option<&'a [DeviceRule]>,
    pub seccomp: Option<&'a Profile>,
    /// The PID namespace to join, when it is another's.
    pub pid_namespace: Option<&'a Path>,
}

/// The whole specification.
///
/// Network, IPC and UTS namespaces are not named: a runtime leaves those as it finds them, and it is started
/// inside the pod's.
pub fn config(plan: &ContainerPlan, beside: &Beside<'_>) -> Value {
    let mut linux = json!({
        "cgroupsPath": beside.cgroups_path,
        "namespaces": namespaces(&plan.pid, beside.pid_namespace),
        "resources": resources(beside.resources, beside.devices),
        "devices": mounts::devices(&plan.root.steps),
        "maskedPaths": mounts::masked(&plan.root.steps),
        "readonlyPaths": mounts::read_only(&plan.root.steps),
    });
    if let Some(propagation) = mounts::root_propagation(&plan.root.steps) {
        linux["rootfsPropagation"] = propagation.into();
    }
    if let Some(profile) = beside.seccomp {
        linux["seccomp"] = seccomp::filter(profile);
    }
    json!({
        "ociVersion": VERSION,
        "root": { "path": plan.root.target.to_string_lossy(), "readonly": plan.root.read_only },
        "process": process(&plan.process, plan.tty),
        "mounts": mounts::mounts(&plan.root.steps, beside.devices.is_none()),
        "linux": linux,
    })
}

fn namespaces(pid: &PidNamespace, path: Option<&Path>) -> Vec<Value> {
    let mut namespaces = vec![json!({ "type": "mount" }), json!({ "type": "cgroup" })];
    match (pid, path) {
        (PidNamespace::Host, _) => {}
        (PidNamespace::Own, _) => namespaces.push(json!({ "type": "pid" })),
        (_, path) => namespaces.push(json!({ "type": "pid", "path": path })),
    }
    namespaces
}

fn resources(resources: &Resources, devices: Option<&[DeviceRule]>) -> Value {
    let mut cpu = json!({});
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            cpu[key] = value;
        }
    };
    set("shares", resources.cpu_shares.map(Into::into));
    set("quota", resources.cpu_quota_us.map(Into::into));
    set("period", resources.cpu_period_us.map(Into::into));
    set("cpus", resources.cpuset_cpus.as_deref().filter(|cpus| !cpus.is_empty()).map(Into::into));
    let mut value = json!({ "cpu": cpu, "devices": device_rules(devices) });
    if let Some(limit) = resources.memory_limit_bytes.filter(|limit| *limit > 0) {
        value["memory"] = json!({ "limit": limit });
    }
    if let Some(limit) = resources.pids_limit {
        value["pids"] = json!({ "limit": limit });
    }
    let pages = resources.hugepages.iter();
    let pages: Vec<Value> = pages.map(|(size, limit)| json!({ "pageSize": size, "limit": limit })).collect();
    if !pages.is_empty() {
        value["hugepageLimits"] = pages.into();
    }
    value
}

fn device_rules(rules: Option<&[DeviceRule]>) -> Vec<Value> {
    let Some(rules) = rules else { return vec![json!({ "allow": true, "access": "rwm" })] };
    let allowed = rules.iter().map(|rule| {
        let mut value = json!({ "allow": true, "type": letter(rule.kind), "access": rule.access() });
        // Absent is any.
        if let Some(major) = rule.major {
            value["major"] = major.into();
        }
        if let Some(minor) = rule.minor {
            value["minor"] = minor.into();
        }
        value
    });
    std::iter::once(json!({ "allow": false, "access": "rwm" })).chain(allowed).collect()
}

fn letter(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Char => "c",
        DeviceKind::Block => "b",
    }
}

/// The reason in a runtime's JSON log: its last error.
pub fn reason(log: &str) -> Option<String> {
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut errors = entries.filter(|entry| matches!(entry["level"].as_str(), Some("error" | "fatal")));
    errors.next_back().and_then(|entry| entry["msg"].as_str().map(|text| text.trim().to_owned()))
}

#[cfg(test)]
mod tests;
