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
    let host_ipc = pod.spec().host_ipc == Some(true);
    for sysctl in context.iter().flat_map(|c| c.sysctls.iter().flatten()) {
        let name = dotted(&sysctl.name);
        let allowed = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => *pattern == name,
        };
        let forbidden =
            |why: &str| Err(rejection("SysctlForbidden", format!("forbidden sysctl: {:?} {why}", sysctl.name)));
        if !SAFE.contains(&name.as_str()) && !allowed_unsafe.iter().any(allowed) {
            return forbidden("not allowlisted");
        }
        if name.starts_with("net.") && pod.host_network() {
            return forbidden("not allowed with host net enabled");
        }
        if (name.starts_with("kernel.shm") || name.starts_with("kernel.msg") || name.starts_with("fs.mqueue."))
            && host_ipc
        {
            return forbidden("not allowed with host ipc enabled");
        }
    }
    Ok(())
}
