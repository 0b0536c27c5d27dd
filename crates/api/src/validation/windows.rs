//! Pods that name their operating system, and Windows' own security options.

use serde_json::Value;

use super::containers::each_container;
use super::prelude::*;

pub(crate) fn operating_system(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if !spec.has("os") {
        return;
    }
    let at = path.child("os");
    match spec.text("os.name") {
        "" => errors.required(&at.child("name"), ""),
        "linux" => linux(spec, path, errors),
        "windows" => windows(spec, path, errors),
        other => errors.not_supported(&at, other, &["linux", "windows"]),
    }
}

fn linux(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let detail = "windows options cannot be set for a linux pod";
    if spec.has("securityContext.windowsOptions") {
        errors.forbidden(&path.child("securityContext.windowsOptions"), detail);
    }
    each_container(spec, path, |container, path| {
        if container.has("securityContext.windowsOptions") {
            errors.forbidden(&path.child("securityContext.windowsOptions"), detail);
        }
    });
}

const POD_FIELDS: &[&str] = &[
    "securityContext.appArmorProfile",
    "securityContext.seLinuxOptions",
    "securityContext.seccompProfile",
    "securityContext.fsGroup",
    "securityContext.fsGroupChangePolicy",
    "securityContext.sysctls",
    "securityContext.runAsUser",
    "securityContext.runAsGroup",
    "securityContext.supplementalGroups",
    "securityContext.supplementalGroupsPolicy",
    "securityContext.seLinuxChangePolicy",
    "hostUsers",
    "hostPID",
    "hostIPC",
    "shareProcessNamespace",
];
const CONTAINER_FIELDS: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

fn windows(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let detail = "cannot be set for a windows pod";
    for field in POD_FIELDS {
        let is_set = match *field {
            "hostPID" | "hostIPC" => spec.flag(field),
            "securityContext.sysctls" => !spec.list(field).is_empty(),
            _ => spec.has(field),
        };
        if is_set {
            errors.forbidden(&path.child(field), detail);
        }
    }
    each_container(spec, path, |container, path| {
        let path = path.child("securityContext");
        for field in CONTAINER_FIELDS.iter().filter(|field| container["securityContext"].has(field)) {
            errors.forbidden(&path.child(field), detail);
        }
    });
}

/// Pods of processes on the host itself are so altogether or not at all (KEP 1981).
pub(crate) fn host_process(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let of_pod = spec.at("securityContext.windowsOptions.hostProcess").as_bool();
    let (mut count, mut host) = (0, 0);
    each_container(spec, path, |container, path| {
        let own = container.at("securityContext.windowsOptions.hostProcess").as_bool();
        if let (Some(pod), Some(own)) = (of_pod, own)
            && pod != own
        {
            let at = path.child("securityContext.windowsOptions.hostProcess");
            let detail = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            errors.invalid(&at, own, detail);
        }
        count += 1;
        host += usize::from(own.or(of_pod).unwrap_or_default());
    });
    if host == 0 {
        return;
    }
    if host != count {
        let detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid(path, "", detail);
    }
    if !spec.flag("hostNetwork") {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(&path.child("hostNetwork"), false, detail);
    }
}

const MAX_CREDENTIAL_SPEC: usize = 64 * 1024;

pub(crate) fn options(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(name) = value["gmsaCredentialSpecName"].as_str() {
        dns1123_subdomain(name, &path.child("gmsaCredentialSpecName"), errors);
    }
    if let Some(text) = value["gmsaCredentialSpec"].as_str() {
        let at = path.child("gmsaCredentialSpec");
        if text.is_empty() {
            errors.invalid(&at, text, "gmsaCredentialSpec cannot be an empty string");
        } else if text.len() > MAX_CREDENTIAL_SPEC {
            errors.invalid(&at, text, "gmsaCredentialSpec size must be under 64 KiB");
        }
    }
    if let Some(name) = value["runAsUserName"].as_str() {
        let at = path.child("runAsUserName");
        user_name(name).into_iter().for_each(|why| errors.invalid(&at, name, why));
    }
}

/// `domain\user`, either part with Windows' own limits.
fn user_name(name: &str) -> Vec<&'static str> {
    let mut problems = Vec::new();
    let mut check = |broken: bool, why| {
        if broken {
            problems.push(why);
        }
    };
    let whole = [
        (name.is_empty(), "runAsUserName cannot be an empty string"),
        (name.chars().any(|c| c.is_ascii_control()), "runAsUserName cannot contain control characters"),
        (name.matches('\\').count() > 1, "runAsUserName cannot contain more than one backslash"),
    ];
    if let Some((_, why)) = whole.into_iter().find(|(broken, _)| *broken) {
        return vec![why];
    }
    let (domain, user) = name.split_once('\\').map_or((None, name), |(domain, user)| (Some(domain), user));
    if let Some(domain) = domain {
        check(domain.len() >= 256, "runAsUserName's Domain length must be under 256 characters");
        let known = is_net_bios(domain) || is_dns(domain);
        check(!known, "runAsUserName's Domain doesn't match the NetBios nor the DNS format");
    }
    check(user.is_empty(), "runAsUserName's User cannot be empty");
    check(user.len() > 104, "runAsUserName's User length must not be longer than 104 characters");
    let blank = !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' '));
    check(blank, "runAsUserName's User cannot contain only periods or spaces");
    check(
        user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']),
        "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]",
    );
    problems
}

fn is_net_bios(domain: &str) -> bool {
    (1..=15).contains(&domain.chars().count())
        && !domain.starts_with('.')
        && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|'])
}

fn is_dns(domain: &str) -> bool {
    domain.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}
