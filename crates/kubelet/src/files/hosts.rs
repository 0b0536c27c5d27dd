//! `/etc/hosts`, in upstream's words.

use std::fmt::Write;
use std::net::IpAddr;

use super::hostname::PodName;
use crate::corev1::HostAlias;

/// The file of a pod with its own network.
pub fn managed(ips: &[IpAddr], name: &PodName, aliases: &[HostAlias]) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    let PodName { hostname, domain } = name;
    for ip in ips {
        let _ = if domain.is_empty() {
            writeln!(text, "{ip}\t{hostname}")
        } else {
            writeln!(text, "{ip}\t{hostname}.{domain}\t{hostname}")
        };
    }
    push_aliases(&mut text, aliases);
    text
}

/// The file of a pod on the node's network: the node's own, and the aliases.
pub fn on_host(node_hosts: &str, aliases: &[HostAlias]) -> String {
    let mut text = format!("# Kubernetes-managed hosts file (host network).\n{node_hosts}");
    push_aliases(&mut text, aliases);
    text
}

fn push_aliases(text: &mut String, aliases: &[HostAlias]) {
    if aliases.is_empty() {
        return;
    }
    text.push_str("\n# Entries added by HostAliases.\n");
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        let _ = writeln!(text, "{}\t{names}", alias.ip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_with_a_subdomain_and_aliases() {
        let name = PodName { hostname: "h".into(), domain: "s.ns.svc.cluster.local".into() };
        let aliases = [HostAlias { ip: "1.2.3.4".into(), hostnames: Some(vec!["a".into(), "b".into()]) }];
        let text = managed(&["10.0.0.9".parse().unwrap()], &name, &aliases);
        let tail: Vec<&str> = text.lines().skip(7).collect();
        assert_eq!(
            tail,
            ["10.0.0.9\th.s.ns.svc.cluster.local\th", "", "# Entries added by HostAliases.", "1.2.3.4\ta\tb"]
        );
        assert!(on_host("127.0.0.1 localhost\n", &[]).ends_with("(host network).\n127.0.0.1 localhost\n"));
    }
}
