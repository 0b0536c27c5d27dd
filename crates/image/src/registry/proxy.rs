//! `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, as container runtimes honour them.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::hosts::Remote;

/// Longest head of a proxy's answer.
const HEAD_BYTES_MAX: usize = 8 << 10;

#[derive(Clone, Debug, Default)]
pub struct Proxy {
    http: Option<Via>,
    https: Option<Via>,
    except: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    remote: Remote,
    /// `user:password` in Base64.
    credentials: Option<String>,
}

impl Proxy {
    pub fn from_environment() -> Self {
        let get = |name: &str| {
            let value = std::env::var(name).or_else(|_| std::env::var(name.to_ascii_uppercase()));
            value.ok().filter(|value| !value.is_empty())
        };
        Self::new(get("http_proxy").as_deref(), get("https_proxy").as_deref(), get("no_proxy").as_deref())
    }

    fn new(http: Option<&str>, https: Option<&str>, except: Option<&str>) -> Self {
        let except = except.unwrap_or_default().split(',').map(|part| part.trim().to_ascii_lowercase());
        Self {
            http: http.and_then(Via::parse),
            https: https.and_then(Via::parse),
            except: except.filter(|part| !part.is_empty()).collect(),
        }
    }

    /// The proxy for a host; never for this machine.
    pub fn of(&self, remote: &Remote) -> Option<&Via> {
        let host = remote.host.to_ascii_lowercase();
        let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if local || self.except.iter().any(|rule| excepts(rule, &host, remote.port)) {
            return None;
        }
        if remote.https { self.https.as_ref() } else { self.http.as_ref() }
    }
}

/// `*`, `example.com` (and all below), `.example.com`, with or without port.
fn excepts(rule: &str, host: &str, port: u16) -> bool {
    let (rule, rule_port) = match rule.rsplit_once(':') {
        Some((name, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => (name, digits.parse().ok()),
        _ => (rule, None),
    };
    let name = rule.trim_start_matches("*.").trim_start_matches('.');
    let below = host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    (rule == "*" || below) && rule_port.is_none_or(|rule_port: u16| rule_port == port)
}

impl Via {
    fn parse(url: &str) -> Option<Self> {
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let (scheme, rest) = url.split_once("://")?;
        let (user, host) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
        let remote = Remote::parse(&format!("{scheme}://{host}"))?;
        Some(Self { remote, credentials: user.map(|user| STANDARD.encode(user)) })
    }
}

/// A connection through the proxy (`CONNECT`, RFC 9110 section 9.3.6).
pub async fn tunnel(via: &Via, remote: &Remote) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((via.remote.host.as_str(), via.remote.port)).await?;
    let target = format!("{}:{}", remote.host, remote.port);
    let auth = via.credentials.as_ref().map_or_else(String::new, |c| format!("Proxy-Authorization: Basic {c}\r\n"));
    stream.write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n").as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX {
            return Err(io::Error::other("the proxy's answer is too long"));
        }
        // Byte by byte: what follows belongs to the registry.
        head.push(stream.read_u8().await?);
    }
    let status = String::from_utf8_lossy(&head);
    let status = status.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        return Ok(stream);
    }
    Err(io::Error::other(format!("the proxy refused to connect to {target}: {status}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_through_which_proxy() {
        let proxy =
            Proxy::new(Some("proxy:3128"), Some("http://u:p@secure:8080/"), Some("in.example, .x.io:5000,10.0.0.1"));
        let via = |url: &str| proxy.of(&Remote::parse(url).unwrap()).map(|via| via.remote.host.as_str());
        for (url, want) in [
            ("https://registry.example", Some("secure")),
            ("http://registry.example", Some("proxy")),
            ("https://in.example", None),
            ("https://a.in.example", None),
            ("https://plain.example", Some("secure")),
            ("https://a.x.io:5000", None),
            ("https://a.x.io", Some("secure")),
            ("http://10.0.0.1", None),
            ("http://127.0.0.1:5000", None),
            ("https://localhost", None),
        ] {
            assert_eq!(via(url), want, "{url}");
        }
        assert_eq!(proxy.https.as_ref().unwrap().credentials.as_deref(), Some("dTpw"));
        assert!(Proxy::new(None, Some("x"), Some("*")).of(&Remote::parse("https://y.io").unwrap()).is_none());
    }
}
