//! Security contexts of pods and containers on Linux.

use serde_json::Value;

use super::containers::Context;
use super::options::Options;
use super::prelude::*;
use super::windows;

pub(crate) fn container_security_context(
    value: &Value,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if value.is_null() {
        return;
    }
    id(&value["runAsUser"], &path.child("runAsUser"), errors);
    id(&value["runAsGroup"], &path.child("runAsGroup"), errors);
    let at = path.child("procMount");
    optional_one_of(&value["procMount"], &["Default", "Unmasked"], &at, errors);
    if context.host_users() && value["procMount"] == "Unmasked" {
        errors.invalid(&at, "Unmasked", "`hostUsers` must be false to use `Unmasked`");
    }
    seccomp_profile(&value["seccompProfile"], &path.child("seccompProfile"), errors);
    if value["allowPrivilegeEscalation"] == false {
        if value.flag("privileged") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(path, value.clone(), detail);
        }
        let added = texts(value, "capabilities.add").filter(|name| *name == "CAP_SYS_ADMIN");
        for _ in added.take_while(|_| !context.options.allow_sys_admin) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(path, value.clone(), detail);
        }
    }
    windows::options(&value["windowsOptions"], &path.child("windowsOptions"), errors);
    app_armor_profile(&value["appArmorProfile"], &path.child("appArmorProfile"), errors);
}

pub(crate) fn pod_security_context(spec: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    let value = &spec["securityContext"];
    if value.is_null() {
        return;
    }
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(&value[field], &path.child(field), errors);
    }
    let groups = path.child("supplementalGroups");
    for (i, group) in value.list("supplementalGroups").iter().enumerate() {
        id(group, &groups.index(i), errors);
    }
    sysctls(spec, &path.child("sysctls"), options, errors);
    let at = path.child("fsGroupChangePolicy");
    optional_one_of(&value["fsGroupChangePolicy"], &["Always", "OnRootMismatch"], &at, errors);
    seccomp_profile(&value["seccompProfile"], &path.child("seccompProfile"), errors);
    windows::options(&value["windowsOptions"], &path.child("windowsOptions"), errors);
    app_armor_profile(&value["appArmorProfile"], &path.child("appArmorProfile"), errors);
    let at = path.child("supplementalGroupsPolicy");
    optional_one_of(&value["supplementalGroupsPolicy"], &["Merge", "Strict"], &at, errors);
    let at = path.child("seLinuxChangePolicy");
    optional_one_of(&value["seLinuxChangePolicy"], &["MountOption", "Recursive"], &at, errors);
}

fn seccomp_profile(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if value.is_null() {
        return;
    }
    match value.text("type") {
        "" => errors.required(&path.child("type"), "type is required when seccompProfile is set"),
        ty => one_of(ty, &["Localhost", "RuntimeDefault", "Unconfined"], &path.child("type"), errors),
    }
    let at = path.child("localhostProfile");
    match (value.text("type"), value["localhostProfile"].as_str()) {
        ("Localhost", None) => errors.required(&at, "must be set when seccomp type is Localhost"),
        ("Localhost", Some(file)) => descending_path(file, &at, errors),
        (_, Some(_)) => errors.invalid(&at, value.clone(), "can only be set when seccomp type is Localhost"),
        (_, None) => {}
    }
}

/// PATH_MAX without the terminating zero.
const MAX_APP_ARMOR_PROFILE_LENGTH: usize = 4095;

pub(crate) fn is_app_armor_profile(value: &Value) -> bool {
    let mut errors = ErrorList::default();
    app_armor_profile(value, &Path::default(), &mut errors);
    errors.is_empty()
}

fn app_armor_profile(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if value.is_null() {
        return;
    }
    let at = path.child("localhostProfile");
    let profile = value["localhostProfile"].as_str();
    match value.text("type") {
        "Localhost" => {
            let text = profile.unwrap_or_default();
            if text.trim() != text {
                errors.invalid(&at, text, "must not be padded with whitespace");
            } else if text.is_empty() {
                errors.required(&at, "must be set when AppArmor type is Localhost");
            }
            if text.len() > MAX_APP_ARMOR_PROFILE_LENGTH {
                errors.too_long(&at, MAX_APP_ARMOR_PROFILE_LENGTH);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if let Some(profile) = profile {
                errors.invalid(&at, profile, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => errors.required(&path.child("type"), "type is required when appArmorProfile is set"),
        ty => errors.not_supported(&path.child("type"), ty, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
}

fn sysctls(spec: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    let sysctls = spec.list("securityContext.sysctls");
    for (i, sysctl) in sysctls.iter().enumerate() {
        let path = path.index(i);
        let (name, at) = (sysctl.text("name"), path.child("name"));
        if name.is_empty() {
            errors.required(&at, "");
        } else if !is_sysctl(name) {
            let part = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
            let detail = format!("must have at most 253 characters and match regex ^({part}[\\./])*{part}$");
            errors.invalid(&at, name, detail);
        } else if sysctls[..i].iter().any(|other| other.text("name") == name) {
            errors.duplicate(&at, name);
        }
        if !options.allow_host_sysctls
            && let Some(detail) = host_sysctl(spec, name)
        {
            errors.invalid(&at, name, detail);
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        ends(bytes.first())
            && ends(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.split(['.', '/']).all(is_part)
}

/// Why a sysctl would reach beyond the pod into the host's own namespace.
pub(crate) fn host_sysctl(spec: &Value, name: &str) -> Option<&'static str> {
    let name = match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('/') => name.replace('.', "\0").replace('/', ".").replace('\0', "/"),
        _ => name.to_owned(),
    };
    let is_ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix))
        || name == "kernel.sem";
    if spec.flag("hostNetwork") && name.starts_with("net.") {
        return Some("may not be specified when 'hostNetwork' is true");
    }
    (spec.flag("hostIPC") && is_ipc).then_some("may not be specified when 'hostIPC' is true")
}
