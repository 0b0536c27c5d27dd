//! Checks of what the pod sets as a whole, or for its containers.

use std::collections::BTreeSet;

use orlop_api::Value;

use super::checks::{Violation, containers, containers_of, name, plural, quoted};

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Where something in a securityContext is wrong: `pod`, `container "a"`.
fn setters(pod: &Value, mut bad: impl FnMut(&Value) -> bool) -> Vec<String> {
    let mut setters = Vec::new();
    if bad(&pod["spec"]["securityContext"]) {
        setters.push("pod".to_owned());
    }
    let names: Vec<String> = containers_of(pod).filter(|c| bad(&c["securityContext"])).map(name).collect();
    if !names.is_empty() {
        setters.push(containers(&names));
    }
    setters
}

fn annotations(pod: &Value) -> impl Iterator<Item = (&str, &str)> {
    let all = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    all.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
}

pub fn app_armor(pod: &Value) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let mut setters = setters(pod, |context| {
        let profile = context["appArmorProfile"]["type"].as_str();
        let wrong = profile.filter(|profile| !matches!(*profile, "RuntimeDefault" | "Localhost"));
        values.extend(wrong.map(str::to_owned));
        wrong.is_some()
    });
    let mut forbidden: Vec<String> = annotations(pod)
        .filter(|(key, value)| {
            let allowed = value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/");
            key.starts_with(APP_ARMOR) && !allowed
        })
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    forbidden.sort();
    if !forbidden.is_empty() {
        setters.push(plural("annotation", "annotations", forbidden.len()).to_owned());
    }
    let values: Vec<String> = values.into_iter().chain(forbidden).collect();
    (!setters.is_empty()).then(|| {
        let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len()).to_owned();
        (reason, format!("{} must not set AppArmor profile type to {}", setters.join(" and "), quoted(&values)))
    })
}

pub fn host_namespaces(pod: &Value) -> Option<Violation> {
    let set = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| pod["spec"][*field] == true);
    let set: Vec<String> = set.map(|field| format!("{field}=true")).collect();
    (!set.is_empty()).then(|| ("host namespaces".into(), set.join(", ")))
}

fn volumes(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["spec"]["volumes"].as_array().into_iter().flatten()
}

pub fn host_path_volumes(pod: &Value) -> Option<Violation> {
    let names: Vec<String> = volumes(pod).filter(|volume| volume["hostPath"].is_object()).map(name).collect();
    let what = plural("volume", "volumes", names.len());
    (!names.is_empty()).then(|| ("hostPath volumes".into(), format!("{what} {}", quoted(&names))))
}

pub fn restricted_volumes(pod: &Value) -> Option<Violation> {
    const ALLOWED: [&str; 9] = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let mut types = BTreeSet::new();
    let bad = volumes(pod).filter(|volume| {
        let kinds: Vec<&String> =
            volume.as_object().into_iter().flat_map(|v| v.keys()).filter(|k| *k != "name").collect();
        let allowed = kinds.iter().any(|kind| ALLOWED.contains(&kind.as_str()));
        if !allowed {
            types.insert(kinds.first().map_or("unknown", |kind| kind.as_str()).to_owned());
        }
        !allowed
    });
    let names: Vec<String> = bad.map(name).collect();
    let types: Vec<String> = types.into_iter().collect();
    (!names.is_empty()).then(|| {
        let (volumes, uses) = (plural("volume", "volumes", names.len()), plural("uses", "use", names.len()));
        let what = plural("restricted volume type", "restricted volume types", types.len());
        ("restricted volume types".into(), format!("{volumes} {} {uses} {what} {}", quoted(&names), quoted(&types)))
    })
}

/// What must be said: by the pod, or by every container. Saying the opposite is worse than silence.
fn required(
    pod: &Value,
    judge: impl Fn(&Value) -> Option<bool>,
    refuse: impl Fn(&str) -> String,
    demand: impl Fn(&str) -> String,
) -> Option<String> {
    let bad = setters(pod, |context| judge(context) == Some(false));
    if !bad.is_empty() {
        return Some(refuse(&bad.join(" and ")));
    }
    if judge(&pod["spec"]["securityContext"]) == Some(true) {
        return None;
    }
    let silent: Vec<String> = containers_of(pod).filter(|c| judge(&c["securityContext"]).is_none()).map(name).collect();
    (!silent.is_empty()).then(|| demand(&containers(&silent)))
}

pub fn run_as_non_root(pod: &Value) -> Option<Violation> {
    let detail = required(
        pod,
        |context| context["runAsNonRoot"].as_bool(),
        |who| format!("{who} must not set securityContext.runAsNonRoot=false"),
        |who| format!("pod or {who} must set securityContext.runAsNonRoot=true"),
    )?;
    Some(("runAsNonRoot != true".into(), detail))
}

pub fn run_as_user(pod: &Value) -> Option<Violation> {
    let bad = setters(pod, |context| context["runAsUser"] == 0);
    (!bad.is_empty()).then(|| ("runAsUser=0".into(), format!("{} must not set runAsUser=0", bad.join(" and "))))
}

fn seccomp(context: &Value) -> Option<bool> {
    let profile = context["seccompProfile"].get("type")?.as_str()?;
    Some(matches!(profile, "RuntimeDefault" | "Localhost"))
}

fn seccomp_values(pod: &Value) -> Vec<String> {
    let contexts = containers_of(pod).map(|c| &c["securityContext"]).chain([&pod["spec"]["securityContext"]]);
    let wrong = contexts.filter(|context| seccomp(context) == Some(false));
    let values: BTreeSet<String> =
        wrong.filter_map(|context| context["seccompProfile"]["type"].as_str().map(str::to_owned)).collect();
    values.into_iter().collect()
}

fn seccomp_refusal(pod: &Value, who: &str) -> String {
    format!("{who} must not set securityContext.seccompProfile.type to {}", quoted(&seccomp_values(pod)))
}

pub fn seccomp_baseline(pod: &Value) -> Option<Violation> {
    let bad = setters(pod, |context| seccomp(context) == Some(false));
    (!bad.is_empty()).then(|| ("seccompProfile".into(), seccomp_refusal(pod, &bad.join(" and "))))
}

pub fn seccomp_restricted(pod: &Value) -> Option<Violation> {
    let demand = |who: &str| {
        format!("pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"")
    };
    let detail = required(pod, seccomp, |who| seccomp_refusal(pod, who), demand)?;
    Some(("seccompProfile".into(), detail))
}

pub fn seccomp_annotations(pod: &Value) -> Option<Violation> {
    let names: Vec<String> = containers_of(pod).map(|c| format!("{SECCOMP_CONTAINER}{}", name(c))).collect();
    let ours = |key: &str| key == SECCOMP_POD || names.iter().any(|name| name == key);
    let valid = |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let bad = annotations(pod).filter(|(key, value)| ours(key) && !valid(value));
    let bad: BTreeSet<String> = bad.map(|(key, value)| format!("{key}={value:?}")).collect();
    let bad: Vec<String> = bad.into_iter().collect();
    (!bad.is_empty()).then(|| {
        let what = plural("annotation", "annotations", bad.len());
        ("seccompProfile".into(), format!("forbidden {what} {}", bad.join(", ")))
    })
}

pub fn selinux_1_0(pod: &Value) -> Option<Violation> {
    selinux(pod, &["", "container_t", "container_init_t", "container_kvm_t"])
}

pub fn selinux_1_31(pod: &Value) -> Option<Violation> {
    selinux(pod, &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])
}

fn selinux(pod: &Value, allowed: &[&str]) -> Option<Violation> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let bad = setters(pod, |context| {
        let options = &context["seLinuxOptions"];
        let text = |field: &str| options[field].as_str().unwrap_or_default();
        let wrong = !allowed.contains(&text("type"));
        if wrong {
            types.insert(text("type").to_owned());
        }
        user |= !text("user").is_empty();
        role |= !text("role").is_empty();
        wrong || !text("user").is_empty() || !text("role").is_empty()
    });
    let types: Vec<String> = types.into_iter().collect();
    let mut what = Vec::new();
    if !types.is_empty() {
        what.push(format!("{} {}", plural("type", "types", types.len()), quoted(&types)));
    }
    what.extend(user.then(|| "user may not be set".to_owned()));
    what.extend(role.then(|| "role may not be set".to_owned()));
    (!bad.is_empty()).then(|| {
        let detail = format!("{} set forbidden securityContext.seLinuxOptions: {}", bad.join(" and "), what.join("; "));
        ("seLinuxOptions".into(), detail)
    })
}

/// Names, and the minor version from which on they are allowed.
const SYSCTLS: [(&str, u32); 14] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
    ("net.ipv4.tcp_slow_start_after_idle", 37),
    ("net.ipv4.tcp_notsent_lowat", 37),
];

pub fn sysctls(pod: &Value, version: u32) -> Option<Violation> {
    let set = pod["spec"]["securityContext"]["sysctls"].as_array().into_iter().flatten().map(name);
    let allowed = |name: &str| SYSCTLS.iter().any(|(known, from)| *known == name && *from <= version);
    let bad: Vec<String> = set.filter(|name| !allowed(name)).collect();
    (!bad.is_empty()).then(|| ("forbidden sysctls".into(), bad.join(", ")))
}

pub fn windows_host_process(pod: &Value) -> Option<Violation> {
    let bad = setters(pod, |context| context["windowsOptions"]["hostProcess"] == true);
    (!bad.is_empty()).then(|| {
        let detail = format!("{} must not set securityContext.windowsOptions.hostProcess=true", bad.join(" and "));
        ("hostProcess".into(), detail)
    })
}
