//! `/etc/resolv.conf` by `dnsPolicy` and `dnsConfig` (`pkg/kubelet/network/dns`).

use std::fmt::Write;
use std::net::IpAddr;

use crate::corev1::PodDNSConfig;
use crate::pod::spec::NodePod;

/// Limits of `pkg/apis/core/validation`: glibc takes three servers.
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;
const MAX_SUBDOMAIN: usize = 253;

/// A resolver configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    pub nameservers: Vec<String>,
    pub searches: Vec<String>,
    /// `name:value` or `name`.
    pub options: Vec<String>,
}

impl Resolver {
    /// Reads `resolv.conf`; later `search` lines win, as in glibc.
    pub fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let mut fields = line.split_whitespace();
            match fields.next() {
                Some("nameserver") => resolver.nameservers.extend(fields.next().map(str::to_owned)),
                Some("search") => {
                    let searches = fields.filter(|s| *s != ".").map(|s| s.trim_end_matches('.').to_owned());
                    resolver.searches = searches.collect();
                }
                Some("options") => fields.for_each(|option| set_option(&mut resolver.options, option)),
                _ => {}
            }
        }
        resolver
    }
}

impl std::fmt::Display for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.searches.is_empty() {
            writeln!(f, "search {}", self.searches.join(" "))?;
        }
        for server in &self.nameservers {
            writeln!(f, "nameserver {server}")?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

/// The cluster's side of name resolution.
pub struct ClusterDns<'a> {
    pub servers: &'a [IpAddr],
    pub domain: &'a str,
}

/// The pod's configuration, and warnings for `DNSConfigForming` events.
pub fn for_pod(pod: &NodePod, host: &Resolver, cluster: &ClusterDns<'_>) -> (Resolver, Vec<String>) {
    let mut resolver = match policy(pod) {
        Policy::None => Resolver::default(),
        Policy::Cluster if !cluster.servers.is_empty() => Resolver {
            nameservers: cluster.servers.iter().map(ToString::to_string).collect(),
            searches: cluster_searches(pod.namespace(), cluster.domain, &host.searches),
            options: vec!["ndots:5".to_owned()],
        },
        Policy::Cluster | Policy::Host => host.clone(),
    };
    if let Some(config) = &pod.spec().dns_config {
        merge(&mut resolver, config);
    }
    let warnings = fit(&mut resolver);
    (resolver, warnings)
}

enum Policy {
    None,
    Cluster,
    Host,
}

fn policy(pod: &NodePod) -> Policy {
    match pod.spec().dns_policy.as_deref() {
        Some("None") => Policy::None,
        Some("Default") => Policy::Host,
        Some("ClusterFirst") if pod.host_network() => Policy::Host,
        _ => Policy::Cluster,
    }
}

fn cluster_searches(namespace: &str, domain: &str, host: &[String]) -> Vec<String> {
    if domain.is_empty() {
        return host.to_vec();
    }
    let own = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
    unique(own.into_iter().chain(host.iter().cloned()))
}

fn merge(resolver: &mut Resolver, config: &PodDNSConfig) {
    let nameservers = config.nameservers.iter().flatten().cloned();
    resolver.nameservers = unique(resolver.nameservers.drain(..).chain(nameservers));
    let searches = config.searches.iter().flatten().cloned();
    resolver.searches = unique(resolver.searches.drain(..).chain(searches));
    for option in config.options.iter().flatten() {
        let mut text = option.name.clone().unwrap_or_default();
        if let Some(value) = option.value.as_deref().filter(|v| !v.is_empty()) {
            let _ = write!(text, ":{value}");
        }
        set_option(&mut resolver.options, &text);
    }
}

fn set_option(options: &mut Vec<String>, option: &str) {
    let name = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    match options.iter_mut().find(|old| name(old) == name(option)) {
        Some(old) => option.clone_into(old),
        None => options.push(option.to_owned()),
    }
}

fn fit(resolver: &mut Resolver) -> Vec<String> {
    let mut warnings = Vec::new();
    if resolver.nameservers.len() > MAX_NAMESERVERS {
        resolver.nameservers.truncate(MAX_NAMESERVERS);
        warnings.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
            resolver.nameservers.join(" ")
        ));
    }
    let before = resolver.searches.len();
    resolver.searches.truncate(MAX_SEARCHES);
    resolver.searches.retain(|s| s.len() <= MAX_SUBDOMAIN);
    while resolver.searches.join(" ").len() > MAX_SEARCH_CHARS {
        resolver.searches.pop();
    }
    if resolver.searches.len() < before {
        warnings.push(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
            resolver.searches.join(" ")
        ));
    }
    warnings
}

fn unique(items: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    items.filter(|item| seen.insert(item.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::pod;

    fn text(spec: Value) -> String {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let host =
            Resolver::parse("# c\nsearch corp.example. .\nnameserver 1.1.1.1\noptions timeout:2 ndots:1 timeout:3\n");
        let servers = ["10.96.0.10".parse().unwrap()];
        let cluster = ClusterDns { servers: &servers, domain: "cluster.local" };
        for_pod(&pod(spec), &host, &cluster).0.to_string()
    }

    const CLUSTER: &str = "search default.svc.cluster.local svc.cluster.local cluster.local corp.example\n\
                           nameserver 10.96.0.10\noptions ndots:5\n";
    const HOST: &str = "search corp.example\nnameserver 1.1.1.1\noptions timeout:3 ndots:1\n";

    #[test]
    fn policies() {
        for (spec, expected) in [
            (json!({"dnsPolicy": "ClusterFirst"}), CLUSTER),
            (json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true}), HOST),
            (json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}), CLUSTER),
            (json!({"dnsPolicy": "Default"}), HOST),
            (
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"], "searches": ["a"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
                "search a\nnameserver 9.9.9.9\noptions ndots:2 edns0\n",
            ),
        ] {
            assert_eq!(text(spec), expected);
        }
    }

    #[test]
    fn what_exceeds_the_limits_is_left_out_and_said() {
        let spec = json!({"dnsPolicy": "None", "containers": [], "dnsConfig": {"nameservers": ["1", "2", "3", "4"]}});
        let (resolver, warnings) = for_pod(&pod(spec), &Resolver::default(), &ClusterDns { servers: &[], domain: "" });
        assert_eq!(resolver.nameservers, ["1", "2", "3"]);
        assert_eq!(warnings.len(), 1);
    }
}
