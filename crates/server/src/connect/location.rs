//! What a proxy path means: `name`, `name:port`, `scheme:name:port` of a node, pod or service.

use std::net::IpAddr;

use orlop_api::Value;
use orlop_api::status::StatusError;
use orlop_store::Store;

use super::Connections;
use super::dial::Target;
use crate::request::RequestInfo;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Node,
    Pod,
    Service,
}

/// A proxied address taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Id<'a> {
    encrypted: bool,
    name: &'a str,
    port: &'a str,
}

impl<'a> Id<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match *parts.as_slice() {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => return None,
        };
        let known = matches!(scheme, "" | "http" | "https");
        (known && !name.is_empty()).then_some(Self { encrypted: scheme == "https", name, port })
    }
}

/// Where the request goes, and whether that is a kubelet (which wants our certificate).
pub(super) fn resolve(
    connections: &Connections,
    kind: Kind,
    info: &RequestInfo,
) -> Result<(Target, bool), StatusError> {
    let what = match kind {
        Kind::Node => "node",
        Kind::Pod => "pod",
        Kind::Service => "service",
    };
    let invalid = || StatusError::bad_request(format!("invalid {what} request {:?}", info.name));
    let id = Id::parse(&info.name).ok_or_else(invalid)?;
    match kind {
        Kind::Node => node(connections, &id),
        Kind::Pod => Ok((pod(connections, &info.namespace, &id)?, false)),
        Kind::Service => Ok((service(connections, &info.namespace, &id)?, false)),
    }
}

fn node(connections: &Connections, id: &Id<'_>) -> Result<(Target, bool), StatusError> {
    let kubelet = connections.kubelet_target(id.name)?;
    if let Ok(address) = kubelet.host.parse() {
        check_address(address)?;
    }
    if id.port.is_empty() || id.port == kubelet.port.to_string() {
        return Ok((kubelet, true));
    }
    Ok((Target { encrypted: id.encrypted, host: kubelet.host, port: number(id.port)? }, false))
}

fn pod(connections: &Connections, namespace: &str, id: &Id<'_>) -> Result<Target, StatusError> {
    let pod = connections.get("pods", namespace, id.name)?;
    let address = pod["status"]["podIPs"][0]["ip"].as_str().or(pod["status"]["podIP"].as_str());
    let not_allowed = || StatusError::bad_request("address not allowed");
    let address: IpAddr = address.and_then(|ip| ip.parse().ok()).ok_or_else(not_allowed)?;
    check_address(address)?;
    let port = match id.port {
        "" => first_port(&pod).unwrap_or(if id.encrypted { 443 } else { 80 }),
        port => number(port)?,
    };
    Ok(Target { encrypted: id.encrypted, host: address.to_string(), port })
}

/// The first port that any container declares.
fn first_port(pod: &Value) -> Option<u16> {
    let mut containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let port = containers.find_map(|container| container["ports"][0]["containerPort"].as_u64())?;
    u16::try_from(port).ok()
}

fn service(connections: &Connections, namespace: &str, id: &Id<'_>) -> Result<Target, StatusError> {
    let mut port_name = id.port.to_owned();
    if let Ok(number) = id.port.parse::<i64>() {
        let service = connections.get("services", namespace, id.name)?;
        let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
        let Some(port) = ports.find(|port| port["port"] == number) else {
            let text = format!("no service port {number} found for service {:?}", id.name);
            return Err(StatusError::unavailable(text));
        };
        port["name"].as_str().unwrap_or_default().clone_into(&mut port_name);
    }
    let none = || StatusError::unavailable(format!("no endpoints available for service {:?}", id.name));
    let of_pods = |endpoint: &Value| is_pods(connections, namespace, endpoint);
    let found = ready_endpoint(&connections.store, namespace, id.name, &port_name, of_pods);
    let (host, port) = found.ok_or_else(none)?;
    Ok(Target { encrypted: id.encrypted, host, port })
}

/// Where a Service's port leads now: what the server itself calls, it may call wherever the Service says.
pub(super) fn endpoint_of_service(
    store: &Store,
    namespace: &str,
    name: &str,
    number: u16,
) -> Result<(String, u16), String> {
    let snapshot = store.snapshot();
    let service = snapshot.get("services", namespace, name).ok_or_else(|| format!("service {name:?} not found"))?;
    let service: Value = serde_json::from_slice(&service.json).unwrap_or_default();
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let port = ports.find(|port| port["port"] == number);
    let port = port.ok_or_else(|| format!("no service port {number} found for service {name:?}"))?;
    if service["spec"]["type"] == "ExternalName" {
        return Ok((service["spec"]["externalName"].as_str().unwrap_or_default().to_owned(), number));
    }
    let port_name = port["name"].as_str().unwrap_or_default();
    let found = ready_endpoint(store, namespace, name, port_name, |_| true);
    found.ok_or_else(|| format!("no endpoints available for service {name:?}"))
}

/// Address and port of a ready endpoint that may be called, at random among a slice's.
fn ready_endpoint(
    store: &Store,
    namespace: &str,
    service: &str,
    port_name: &str,
    may_call: impl Fn(&Value) -> bool,
) -> Option<(String, u16)> {
    let snapshot = store.snapshot();
    let slices = snapshot.range("discovery.k8s.io/endpointslices", Some(namespace), None);
    let slices: Vec<Value> = slices
        .filter_map(|entry| serde_json::from_slice::<Value>(&entry.json).ok())
        .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service)
        .collect();
    // IPv4 first: the primary family of the cluster.
    for family in ["IPv4", "IPv6"] {
        for slice in slices.iter().filter(|slice| slice["addressType"] == family) {
            let endpoints = slice["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut ports = slice["ports"].as_array().into_iter().flatten();
            let named = ports.find(|port| port["name"].as_str().unwrap_or_default() == port_name);
            let port = named.and_then(|port| u16::try_from(port["port"].as_u64()?).ok());
            let (Some(port), false) = (port, endpoints.is_empty()) else { continue };
            let start = orlop_base::id::with_rng(|rng| rng.usize(..endpoints.len()));
            let mut turned = endpoints[start..].iter().chain(&endpoints[..start]);
            let found = turned.find(|endpoint| endpoint["conditions"]["ready"] != false && may_call(endpoint));
            if let Some(address) = found.and_then(|endpoint| endpoint["addresses"][0].as_str()) {
                return Some((address.to_owned(), port));
            }
        }
    }
    None
}

/// Whether an endpoint's address is that of the pod it names: whoever writes slices must not make
/// us a way to any address.
fn is_pods(connections: &Connections, namespace: &str, endpoint: &Value) -> bool {
    let target = &endpoint["targetRef"];
    if target["namespace"] != namespace {
        return false;
    }
    let pod = connections.get("pods", namespace, target["name"].as_str().unwrap_or_default());
    let Ok(pod) = pod else { return false };
    let mut ips = pod["status"]["podIPs"].as_array().into_iter().flatten();
    ips.any(|ip| ip["ip"] == endpoint["addresses"][0])
}

/// Go's `IsGlobalUnicast`: neither this host nor link-local, multicast, unspecified or broadcast.
fn check_address(address: IpAddr) -> Result<(), StatusError> {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if local || address.is_loopback() || address.is_multicast() || address.is_unspecified() {
        return Err(StatusError::bad_request("address not allowed"));
    }
    Ok(())
}

fn number(port: &str) -> Result<u16, StatusError> {
    port.parse().map_err(|_| StatusError::bad_request(format!("invalid port {port:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_up_to_three_parts() {
        let id = |encrypted, name, port| Some(Id { encrypted, name, port });
        for (text, parsed) in [
            ("web", id(false, "web", "")),
            ("web:80", id(false, "web", "80")),
            ("web:http", id(false, "web", "http")),
            ("https:web:443", id(true, "web", "443")),
            ("https:web:", id(true, "web", "")),
            ("ftp:web:21", None),
            (":80", None),
            ("a:b:c:d", None),
        ] {
            assert_eq!(Id::parse(text), parsed, "{text}");
        }
    }

    #[test]
    fn our_own_host_is_no_target() {
        for (address, allowed) in [
            ("10.1.2.3", true),
            ("2001:db8::1", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("169.254.169.254", false),
            ("fe80::1", false),
            ("224.0.0.1", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(check_address(address.parse().expect("address")).is_ok(), allowed, "{address}");
        }
    }
}
