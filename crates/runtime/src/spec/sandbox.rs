//! A pod's namespaces.

use std::ffi::CString;
use std::path::PathBuf;

use super::c_string;
use crate::plan::{CgroupPlan, SandboxPlan, Users};
use crate::sys::c_path;
use crate::{Result, SandboxConfig, UserNamespace};

/// Non-root processes may ping and listen on any port: the network namespace is the pod's own, so there is
/// nobody to protect (containerd 2.0's defaults).
const NETWORK_SYSCTLS: [(&str, &str); 2] =
    [("net.ipv4.ping_group_range", "0 2147483647"), ("net.ipv4.ip_unprivileged_port_start", "0")];

/// Where to keep what a pod has of its own.
pub struct Keep {
    pub netns: PathBuf,
    pub pidns: PathBuf,
    pub shm: PathBuf,
}

pub fn sandbox(config: &SandboxConfig, id: &str, keep: &Keep, cgroup: CgroupPlan) -> Result<SandboxPlan> {
    let defaults = NETWORK_SYSCTLS.into_iter().filter(|_| !config.host.network);
    // The defaults first: a range of local ports may not reach below the unprivileged ones.
    let own = config.sysctls.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let sysctls = defaults.chain(own).map(|(name, value)| Ok((sysctl_path(name)?, value.to_owned())));
    let share_pid = config.share_pid && !config.host.pid;
    Ok(SandboxPlan {
        id: id.to_owned(),
        hostname: config.hostname.clone(),
        host_network: config.host.network,
        host_ipc: config.host.ipc,
        share_pid,
        netns: (!config.host.network).then(|| c_path(&keep.netns)),
        shm: (!config.host.ipc).then(|| c_path(&keep.shm)),
        sysctls: sysctls.collect::<Result<_>>()?,
        cgroup,
        pidns: share_pid.then(|| c_path(&keep.pidns)),
        users: config.users.map(users),
    })
}

pub fn users(users: UserNamespace) -> Users {
    Users { first: users.first, length: users.length }
}

/// Dots separate, and so do slashes, whichever comes first (sysctl.d(5)): `net/ipv4/conf/eth0.5/forwarding`.
fn sysctl_path(name: &str) -> Result<CString> {
    let slash_first = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'/');
    let path = if slash_first {
        name.to_owned()
    } else {
        name.chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect()
    };
    c_string(format!("/proc/sys/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctls_become_paths_and_win_over_defaults() {
        for (name, want) in [
            ("net.ipv4.ip_forward", c"/proc/sys/net/ipv4/ip_forward"),
            ("net.ipv4.conf.eth0/5.forwarding", c"/proc/sys/net/ipv4/conf/eth0.5/forwarding"),
            ("net/ipv4/conf/eth0.5/forwarding", c"/proc/sys/net/ipv4/conf/eth0.5/forwarding"),
        ] {
            assert_eq!(sysctl_path(name).unwrap().as_c_str(), want);
        }
        let mut config = SandboxConfig::default();
        config.sysctls.insert("net.ipv4.ip_unprivileged_port_start".into(), "1024".into());
        let none = CgroupPlan { tasks: vec![], unified: None, oom: None, kill: None };
        let keep = Keep { netns: "/n".into(), pidns: "/p".into(), shm: "/s".into() };
        let plan = sandbox(&config, "x", &keep, none).unwrap();
        let port = plan.sysctls.iter().rfind(|(path, _)| path.to_bytes().ends_with(b"port_start")).unwrap();
        assert_eq!(port.1.as_str(), "1024");
    }
}
