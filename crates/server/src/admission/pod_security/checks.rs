//! The levels' checks, and from which version on each is made how (`pod-security-admission/policy`).

use orlop_api::Value;

use super::level::{Bound, Level};
use super::{containers, pod};

/// Why a pod is refused: the reason, and what in it.
pub type Violation = (String, String);

type Look = fn(&Value) -> Option<Violation>;

/// One check. The last version that is not above the asked one counts.
struct Check {
    id: &'static str,
    level: Level,
    /// Minor version from which on; how.
    versions: &'static [(u32, Look)],
    /// The check of a lower level that this one replaces.
    replaces: &'static str,
}

const fn baseline(id: &'static str, versions: &'static [(u32, Look)]) -> Check {
    Check { id, level: Level::Baseline, versions, replaces: "" }
}

const fn restricted(id: &'static str, versions: &'static [(u32, Look)], replaces: &'static str) -> Check {
    Check { id, level: Level::Restricted, versions, replaces }
}

/// In the order in which violations are told.
static CHECKS: [Check; 19] = [
    baseline("appArmorProfile", &[(0, pod::app_armor)]),
    baseline("capabilities_baseline", &[(0, containers::capabilities_baseline)]),
    baseline("hostNamespaces", &[(0, pod::host_namespaces)]),
    baseline("hostPathVolumes", &[(0, pod::host_path_volumes)]),
    baseline("hostPorts", &[(0, containers::host_ports)]),
    baseline("hostProbesAndHostLifecycle", &[(34, containers::host_probes)]),
    baseline("privileged", &[(0, containers::privileged)]),
    baseline(
        "procMount",
        &[(0, containers::proc_mount), (35, |pod| unless_user_namespace(pod, containers::proc_mount))],
    ),
    baseline("seLinuxOptions", &[(0, pod::selinux_1_0), (31, pod::selinux_1_31)]),
    baseline("seccompProfile_baseline", &[(0, pod::seccomp_annotations), (19, pod::seccomp_baseline)]),
    baseline(
        "sysctls",
        &[
            (0, |p| pod::sysctls(p, 0)),
            (27, |p| pod::sysctls(p, 27)),
            (29, |p| pod::sysctls(p, 29)),
            (32, |p| pod::sysctls(p, 32)),
            (37, |p| pod::sysctls(p, 37)),
        ],
    ),
    baseline("windowsHostProcess", &[(0, pod::windows_host_process)]),
    restricted(
        "allowPrivilegeEscalation",
        &[(8, containers::privilege_escalation), (25, |pod| unless_windows(pod, containers::privilege_escalation))],
        "",
    ),
    restricted(
        "capabilities_restricted",
        &[
            (22, containers::capabilities_restricted),
            (25, |pod| unless_windows(pod, containers::capabilities_restricted)),
        ],
        "capabilities_baseline",
    ),
    restricted("procMount_restricted", &[(35, containers::proc_mount)], "procMount"),
    restricted("restrictedVolumes", &[(0, pod::restricted_volumes)], "hostPathVolumes"),
    restricted(
        "runAsNonRoot",
        &[(0, pod::run_as_non_root), (35, |p| unless_user_namespace(p, pod::run_as_non_root))],
        "",
    ),
    restricted("runAsUser", &[(23, pod::run_as_user), (35, |p| unless_user_namespace(p, pod::run_as_user))], ""),
    restricted(
        "seccompProfile_restricted",
        &[(19, pod::seccomp_restricted), (25, |p| unless_windows(p, pod::seccomp_restricted))],
        "seccompProfile_baseline",
    ),
];

/// Everything about a pod (or a pod template) that a level does not allow.
pub fn violations(bound: Bound, pod: &Value) -> Vec<Violation> {
    let version = bound.version.unwrap_or(u32::MAX);
    let look =
        |check: &'static Check| check.versions.iter().rev().find(|(from, _)| *from <= version).map(|(_, look)| *look);
    let applies = |check: &&'static Check| check.level <= bound.level && look(check).is_some();
    let replaced: Vec<&str> = CHECKS.iter().filter(applies).map(|check| check.replaces).collect();
    let left = CHECKS.iter().filter(applies).filter(|check| !replaced.contains(&check.id));
    left.filter_map(|check| look(check)?(pod)).collect()
}

fn unless_windows(pod: &Value, look: Look) -> Option<Violation> {
    if pod["spec"]["os"]["name"] == "windows" { None } else { look(pod) }
}

/// Root in a user namespace of its own is nobody outside.
fn unless_user_namespace(pod: &Value, look: Look) -> Option<Violation> {
    if pod["spec"]["hostUsers"] == false { None } else { look(pod) }
}

/// All containers: init, ordinary, ephemeral.
pub fn containers_of(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    lists.into_iter().flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
}

pub fn name(container: &Value) -> String {
    container["name"].as_str().unwrap_or_default().to_owned()
}

/// `container "a"`, `containers "a", "b"`
pub fn containers(names: &[String]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

pub fn quoted<T: AsRef<str>>(items: &[T]) -> String {
    items.iter().map(|item| format!("\"{}\"", item.as_ref())).collect::<Vec<_>>().join(", ")
}

pub fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(level: Level, version: Option<u32>, spec: Value) -> Vec<String> {
        let found = violations(Bound { level, version }, &json!({ "spec": spec }));
        found.into_iter().map(|(reason, detail)| format!("{reason} ({detail})")).collect()
    }

    #[test]
    fn a_plain_pod_is_baseline_but_not_restricted() {
        let plain = json!({"containers": [{"name": "a"}]});
        assert!(told(Level::Baseline, None, plain.clone()).is_empty());
        assert_eq!(
            told(Level::Restricted, None, plain),
            [
                "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false)",
                "unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"])",
                "runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true)",
                "seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
                 \"Localhost\")",
            ]
        );
        let strict = json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "a", "securityContext": {"allowPrivilegeEscalation": false,
                            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}}],
            "volumes": [{"name": "v", "emptyDir": {}}]});
        assert!(told(Level::Restricted, None, strict).is_empty());
    }

    #[test]
    fn baseline_refuses_the_host() {
        let spec = json!({"hostNetwork": true, "hostPID": true,
            "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
            "securityContext": {"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}]},
            "containers": [{"name": "a", "ports": [{"hostPort": 80}], "securityContext": {"privileged": true,
                            "capabilities": {"add": ["NET_ADMIN", "CHOWN"]}}}]});
        assert_eq!(
            told(Level::Baseline, None, spec.clone()),
            [
                "non-default capabilities (container \"a\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)",
                "host namespaces (hostNetwork=true, hostPID=true)",
                "hostPath volumes (volume \"v\")",
                "hostPort (container \"a\" uses hostPort 80)",
                "privileged (container \"a\" must not set securityContext.privileged=true)",
                "forbidden sysctls (kernel.msgmax)",
            ]
        );
        let old = told(Level::Baseline, Some(31), spec);
        assert_eq!(old.last().map(String::as_str), Some("forbidden sysctls (kernel.msgmax, net.ipv4.tcp_rmem)"));
    }
}
