//! Where a node's kubelet listens (`pkg/kubelet/client`).

use orlop_api::status::StatusError;
use orlop_api::{Value, meta};

use super::Connections;
use super::dial::Target;

/// `KubeletPort`.
const DEFAULT_PORT: u16 = 10250;

/// Kinds of node addresses, the best first (`--kubelet-preferred-address-types`; kubeadm's order).
const ADDRESS_TYPES: [&str; 3] = ["InternalIP", "ExternalIP", "Hostname"];

impl Connections {
    pub(super) fn kubelet_target(&self, node_name: &str) -> Result<Target, StatusError> {
        target(&self.get("nodes", "", node_name)?)
    }
}

/// Where the kubelet of a Node listens.
pub(super) fn target(node: &Value) -> Result<Target, StatusError> {
    let addresses = node["status"]["addresses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_type = |kind: &&str| addresses.iter().find(|address| address["type"] == **kind);
    let host = ADDRESS_TYPES.iter().find_map(of_type).and_then(|address| address["address"].as_str());
    let Some(host) = host else {
        let text = format!("no preferred addresses found; known addresses: {}", Value::from(addresses.to_vec()));
        return Err(StatusError::new(500, "", text));
    };
    let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0).unwrap_or(DEFAULT_PORT);
    Ok(Target { encrypted: true, host: host.to_owned(), port })
}

/// The node a pod runs on; `None` before it is scheduled.
pub(super) fn node_of(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty())
}

/// Checks the container a request names, or finds the only one there is.
pub(super) fn container<'a>(pod: &'a Value, asked: &'a str) -> Result<&'a str, StatusError> {
    let spec = &pod["spec"];
    let names = |list: &str| {
        let containers = spec[list].as_array().into_iter().flatten();
        containers.filter_map(|container| container["name"].as_str()).collect::<Vec<_>>()
    };
    let all = [names("initContainers"), names("containers"), names("ephemeralContainers")].concat();
    let pod_name = meta::name(pod);
    if !asked.is_empty() {
        if all.contains(&asked) {
            return Ok(asked);
        }
        return Err(StatusError::bad_request(format!("container {asked} is not valid for pod {pod_name}")));
    }
    match names("containers").as_slice() {
        [only] => Ok(only),
        [] => Err(StatusError::bad_request(format!("a container name must be specified for pod {pod_name}"))),
        _ => {
            let choices = all.join(" ");
            let text = format!("a container name must be specified for pod {pod_name}, choose one of: [{choices}]");
            Err(StatusError::bad_request(text))
        }
    }
}

/// A query in the order Go encodes it: by key, values in theirs.
pub(super) fn encode_query(pairs: &[(&str, String)]) -> String {
    let mut sorted: Vec<&(&str, String)> = pairs.iter().collect();
    sorted.sort_by_key(|(key, _)| *key);
    let pairs: Vec<String> = sorted.iter().map(|(key, value)| format!("{key}={}", escape(value))).collect();
    pairs.join("&")
}

/// Percent-encodes all but what RFC 3986 leaves alone.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.extend(['%', hex(byte >> 4), hex(byte & 0xf)]);
        }
    }
    out
}

fn hex(nibble: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(nibble)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kubelets_are_found_by_their_best_address() {
        let node = |status: Value| target(&json!({"status": status})).map(|target| target.to_string());
        let addresses = json!([{"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "2001:db8::1"}]);
        assert_eq!(node(json!({"addresses": addresses})), Ok("[2001:db8::1]:10250".into()));
        let ports = json!({"kubeletEndpoint": {"Port": 1234}});
        assert_eq!(
            node(json!({"addresses": [{"type": "Hostname", "address": "h"}], "daemonEndpoints": ports})),
            Ok("h:1234".into())
        );
        assert!(node(json!({})).is_err());
    }

    #[test]
    fn containers_are_chosen_as_upstream() {
        let pod = |containers: &[&str], init: &[&str]| {
            let list = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
            json!({"metadata": {"name": "p"}, "spec": {"containers": list(containers), "initContainers": list(init)}})
        };
        let chosen = |pod: &Value, asked: &str| match container(pod, asked) {
            Ok(name) => name.to_owned(),
            Err(error) => format!("{} {}", error.code, error.message),
        };
        assert_eq!(chosen(&pod(&["a"], &["i"]), ""), "a");
        assert_eq!(chosen(&pod(&["a"], &["i"]), "i"), "i");
        assert_eq!(chosen(&pod(&["a"], &[]), "x"), "400 container x is not valid for pod p");
        assert_eq!(
            chosen(&pod(&["a", "b"], &["i"]), ""),
            "400 a container name must be specified for pod p, choose one of: [i a b]"
        );
    }

    #[test]
    fn queries_are_escaped_and_sorted() {
        let pairs = [("command", "sh -c".to_owned()), ("a", "1".to_owned()), ("command", "x&y=ü".to_owned())];
        assert_eq!(encode_query(&pairs), "a=1&command=sh%20-c&command=x%26y%3D%C3%BC");
    }
}
