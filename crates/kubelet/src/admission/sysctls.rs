//! May the pod set these kernel parameters? Safe ones always, others when the node allows them.

use super::{Verdict, rejection};
use crate::pod::ops::sandbox::dotted;
use crate::pod::spec::NodePod;

/// Namespaced, isolated and harmless to neighbours (`pkg/kubelet/sysctl/safe_sysctls.go`).
const SAFE: [&str; 14] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_notsent_lowat",
];

pub fn check(pod: &NodePod, allowed_unsafe: &[String]) -> Result<(), Verdict> {
    let context = pod.spec().security_context.as_ref();
    for sysctl in context.iter().flat_map(|c| c.sysctls.iter().flatten()) {
        let name = dotted(&sysctl.name);
        let allowed = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => *pattern == name,
        };
        let forbidden = |why: &str| Err(rejection("SysctlForbidden", format!("forbidden sysctl: {name:?} {why}")));
        if !SAFE.contains(&name.as_str()) && !allowed_unsafe.iter().any(allowed) {
            return forbidden("not allowlisted");
        }
        match namespace(&name) {
            Some(Namespace::Net) if pod.host_network() => return forbidden("not allowed with host Net enabled"),
            Some(Namespace::Ipc) if pod.spec().host_ipc == Some(true) => {
                return forbidden("not allowed with host IPC enabled");
            }
            Some(Namespace::User) if pod.spec().host_users != Some(false) => {
                return forbidden("not allowed with host User enabled");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Kinds of namespaces that a pod may share with the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    Ipc,
    Net,
    User,
}

/// Which a parameter belongs to (`component-helpers`, `node/util/sysctl`).
fn namespace(name: &str) -> Option<Namespace> {
    if name == "kernel.sem" || ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|p| name.starts_with(p)) {
        Some(Namespace::Ipc)
    } else if name.starts_with("net.") {
        Some(Namespace::Net)
    } else if name.starts_with("user.") {
        Some(Namespace::User)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::pod;

    #[test]
    fn safe_ones_always_others_as_allowed_and_none_of_the_hosts() {
        let unsafe_ones = ["kernel.sem", "user.*", "net.core.*"].map(str::to_owned);
        for (name, spec, want) in [
            ("net.ipv4.tcp_syncookies", json!({}), ""),
            ("net/ipv4/tcp_syncookies", json!({}), ""),
            ("net.core.somaxconn", json!({}), ""),
            ("kernel.msgmax", json!({}), "forbidden sysctl: \"kernel.msgmax\" not allowlisted"),
            ("kernel/msgmax", json!({}), "forbidden sysctl: \"kernel.msgmax\" not allowlisted"),
            (
                "kernel.sem",
                json!({"hostIPC": true}),
                "forbidden sysctl: \"kernel.sem\" not allowed with host IPC enabled",
            ),
            (
                "net.core.somaxconn",
                json!({"hostNetwork": true}),
                "forbidden sysctl: \"net.core.somaxconn\" not allowed with host Net enabled",
            ),
            (
                "user.max_mnt_namespaces",
                json!({}),
                "forbidden sysctl: \"user.max_mnt_namespaces\" not allowed with host User enabled",
            ),
            ("user.max_mnt_namespaces", json!({"hostUsers": false}), ""),
        ] {
            let mut spec = spec;
            spec["containers"] = json!([{"name": "c"}]);
            spec["securityContext"] = json!({"sysctls": [{"name": name, "value": "1"}]});
            let verdict = check(&pod(spec), &unsafe_ones).err().map(|verdict| verdict.message).unwrap_or_default();
            assert_eq!(verdict, want, "{name}");
        }
    }
}
