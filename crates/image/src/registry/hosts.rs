//! How registry hosts are reached, in the form of K3s' `registries.yaml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::ImageError;

/// The host behind docker.io's name.
const DOCKER_IO: &str = "docker.io";
const DOCKER_IO_HOST: &str = "registry-1.docker.io";
/// Entry for hosts that have none of their own.
const ANY: &str = "*";
/// Endpoint that stands for what is here already: a tag that was imported counts as pulled, so that
/// `imagePullPolicy: Always` works without a registry.
const LOCAL: &str = "local";

/// Mirrors, plain HTTP, certificate authorities. Deserialises from `registries.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hosts {
    /// By host name as it stands in references; `*` for all others.
    pub mirrors: BTreeMap<String, Mirror>,
    /// By host and port of the endpoint.
    pub configs: BTreeMap<String, HostConfig>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mirror {
    /// URLs tried in order before the host itself: `https://mirror.example:5000`, `http://127.0.0.1:5000`
    /// (plain HTTP is spoken only where it is written), or `local`.
    #[serde(rename = "endpoint")]
    pub endpoints: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostConfig {
    pub auth: Option<HostAuth>,
    pub tls: Option<HostTls>,
}

/// Credentials of the node, used when the pod brings none that work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostAuth {
    pub username: String,
    pub password: String,
    #[serde(rename = "identity_token", alias = "token")]
    pub identity_token: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostTls {
    /// PEM bundle trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    pub insecure_skip_verify: bool,
}

/// Where to ask for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Local,
    Remote(Remote),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    pub https: bool,
    pub host: String,
    pub port: u16,
    /// Before `/v2/`, without a slash at its end.
    pub prefix: String,
}

impl Remote {
    /// `http://host:port/prefix` or `https://...`.
    pub fn parse(url: &str) -> Option<Self> {
        let (https, rest) = match url.split_once("://")? {
            ("https", rest) => (true, rest),
            ("http", rest) => (false, rest),
            _ => return None,
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut remote = Self::of(https, authority)?;
        let path = path.trim_matches('/').trim_end_matches("v2").trim_end_matches('/');
        if !path.is_empty() {
            remote.prefix = format!("/{path}");
        }
        Some(remote)
    }

    pub fn of(https: bool, authority: &str) -> Option<Self> {
        let default_port = if https { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
        (!host.is_empty() && host.chars().all(plain)).then(|| Self {
            https,
            host: host.to_owned(),
            port,
            prefix: String::new(),
        })
    }

    /// As it stands in the `Host` header and in [`Hosts::configs`].
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.https, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl Hosts {
    /// Endpoints for images of `domain`: its mirrors, then itself.
    pub fn endpoints(&self, domain: &str) -> Result<Vec<Endpoint>, ImageError> {
        let mirror = self.mirrors.get(domain).or_else(|| self.mirrors.get(ANY));
        let mut endpoints = Vec::new();
        for text in mirror.iter().flat_map(|mirror| &mirror.endpoints) {
            endpoints.push(match text.as_str() {
                LOCAL => Endpoint::Local,
                url => Endpoint::Remote(Remote::parse(url).ok_or_else(|| {
                    ImageError::Registry(format!("mirror of {domain}: \"{url}\" is not an http or https URL"))
                })?),
            });
        }
        let itself = Remote::of(true, if domain == DOCKER_IO { DOCKER_IO_HOST } else { domain });
        let itself = itself.ok_or_else(|| ImageError::Registry(format!("\"{domain}\" is not a registry host")))?;
        // A mirror entry for the host itself in plain HTTP says how to reach it, so not also by HTTPS.
        let named = |e: &Endpoint| matches!(e, Endpoint::Remote(r) if r.host == itself.host && r.prefix.is_empty());
        if !endpoints.iter().any(named) {
            endpoints.push(Endpoint::Remote(itself));
        }
        Ok(endpoints)
    }

    pub fn tls(&self, remote: &Remote) -> HostTls {
        self.configs.get(&remote.authority()).and_then(|config| config.tls.clone()).unwrap_or_default()
    }

    pub fn auth(&self, remote: &Remote) -> Option<&HostAuth> {
        self.configs.get(&remote.authority())?.auth.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(hosts: &Hosts, domain: &str) -> Vec<String> {
        let endpoints = hosts.endpoints(domain).unwrap();
        let show = |endpoint: &Endpoint| match endpoint {
            Endpoint::Local => "local".to_owned(),
            Endpoint::Remote(r) => {
                format!("{}://{}{}", if r.https { "https" } else { "http" }, r.authority(), r.prefix)
            }
        };
        endpoints.iter().map(show).collect()
    }

    #[test]
    fn endpoints_in_order() {
        let hosts: Hosts = serde_json::from_value(serde_json::json!({
            "mirrors": {
                "docker.io": {"endpoint": ["local", "http://127.0.0.1:5000/cache/v2", "https://mirror.example"]},
                "plain.example:5000": {"endpoint": ["http://plain.example:5000"]},
                "*": {"endpoint": ["https://all.example"]},
            },
            "configs": {"mirror.example": {"tls": {"insecure_skip_verify": true}, "auth": {"username": "u"}}},
        }))
        .unwrap();
        let docker = shown(&hosts, "docker.io");
        assert_eq!(
            docker,
            ["local", "http://127.0.0.1:5000/cache", "https://mirror.example", "https://registry-1.docker.io"]
        );
        assert_eq!(shown(&hosts, "plain.example:5000"), ["http://plain.example:5000"]);
        assert_eq!(shown(&hosts, "ghcr.io"), ["https://all.example", "https://ghcr.io"]);
        assert_eq!(shown(&Hosts::default(), "localhost:5000"), ["https://localhost:5000"]);
        assert_eq!(shown(&Hosts::default(), "[::1]:5000"), ["https://[::1]:5000"]);
        assert!(hosts.tls(&Remote::of(true, "mirror.example").unwrap()).insecure_skip_verify);
        assert!(serde_json::from_value::<Hosts>(serde_json::json!({"mirors": {}})).is_err(), "typing errors are told");
        assert!(Remote::parse("ftp://x").is_none() && Remote::parse("https://a b").is_none());
    }
}
