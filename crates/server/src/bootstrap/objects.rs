//! The list of bootstrap objects.

use std::collections::BTreeSet;
use std::net::IpAddr;

use orlop_api::{Value, meta};
use serde_json::json;

use crate::Server;

/// What of an object is this server's to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// That it is there.
    Existence,
    /// These fields' values.
    Fields(&'static [&'static str]),
}

pub struct Wanted {
    pub group: &'static str,
    pub plural: &'static str,
    /// Empty for cluster-scoped kinds.
    pub namespace: &'static str,
    pub object: Value,
    pub keep: Keep,
}

impl Wanted {
    pub fn name(&self) -> &str {
        meta::name(&self.object)
    }

    pub fn collection_path(&self) -> String {
        let root = if self.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}/v1", self.group) };
        match self.namespace {
            "" => format!("{root}/{}", self.plural),
            namespace => format!("{root}/namespaces/{namespace}/{}", self.plural),
        }
    }

    /// The query that names who manages its fields, where that is not the server itself.
    pub fn manager(&self) -> &'static str {
        match self.group {
            "flowcontrol.apiserver.k8s.io" => "?fieldManager=api-priority-and-fairness-config-producer-v1",
            _ => "",
        }
    }

    /// Brings a stored object in line; false when it is.
    pub fn correct(&self, stored: &mut Value) -> bool {
        match self.keep {
            Keep::Existence => false,
            Keep::Fields(fields) => {
                let wrong: Vec<_> =
                    fields.iter().filter(|field| stored.pointer(field) != self.object.pointer(field)).collect();
                for field in &wrong {
                    let value = self.object.pointer(field).cloned().unwrap_or_default();
                    set_pointer(stored, field, value);
                }
                !wrong.is_empty()
            }
        }
    }
}

fn set_pointer(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for key in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[key];
    }
    *at = value;
}

/// Where changes may undo the list: storage key and namespace.
pub const WATCHED: [(&str, Option<&str>); 8] = [
    ("namespaces", None),
    ("scheduling.k8s.io/priorityclasses", None),
    ("networking.k8s.io/servicecidrs", None),
    ("flowcontrol.apiserver.k8s.io/prioritylevelconfigurations", None),
    ("flowcontrol.apiserver.k8s.io/flowschemas", None),
    ("services", Some("default")),
    ("endpoints", Some("default")),
    ("discovery.k8s.io/endpointslices", Some("default")),
];

/// In an order in which they can be made.
pub fn all(server: &Server) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = ["kube-system", "kube-public", "kube-node-lease", "default"].map(namespace).into();
    all.push(priority_class(
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ));
    all.push(priority_class(
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ));
    all.extend(super::flow_control::all());
    all.push(token_tracking());
    all.extend(kubernetes(server));
    all
}

fn namespace(name: &str) -> Wanted {
    let object = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}});
    Wanted { group: "", plural: "namespaces", namespace: "", object, keep: Keep::Existence }
}

fn priority_class(name: &str, value: i64, description: &str) -> Wanted {
    let object = json!({
        "kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1", "metadata": {"name": name}, "value": value,
        "description": description,
    });
    Wanted { group: "scheduling.k8s.io", plural: "priorityclasses", namespace: "", object, keep: Keep::Existence }
}

/// Since when the use of ServiceAccounts' old tokens is noted (KEP 2799).
fn token_tracking() -> Wanted {
    let today = orlop_base::clock::rfc3339();
    let object = json!({
        "kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"name": "kube-apiserver-legacy-service-account-token-tracking", "namespace": "kube-system"},
        "data": {"since": today.split('T').next()},
    });
    Wanted { group: "", plural: "configmaps", namespace: "kube-system", object, keep: Keep::Existence }
}

/// The Service by which pods reach the API servers, and its endpoints: this one and its peers.
fn kubernetes(server: &Server) -> Vec<Wanted> {
    let mut all = Vec::new();
    let port = server.secure_port;
    if let Some(ip) = server.allocators.config().kubernetes_ip() {
        all.push(Wanted {
            group: "",
            plural: "services",
            namespace: "default",
            object: json!({
                "kind": "Service", "apiVersion": "v1",
                "metadata": {"name": "kubernetes", "namespace": "default",
                             "labels": {"component": "apiserver", "provider": "kubernetes"}},
                "spec": {
                    "type": "ClusterIP", "clusterIP": ip.to_string(), "ipFamilyPolicy": "SingleStack",
                    "sessionAffinity": "None",
                    "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
                },
            }),
            keep: Keep::Existence,
        });
    }
    let address = server.advertise_address;
    // Nobody else could reach a loopback address, and validation refuses it.
    if !address.is_loopback() && !address.is_unspecified() {
        let mut addresses = server.peers.addresses();
        addresses.insert(address);
        all.push(endpoints(&addresses, port));
        all.push(endpoint_slice(&addresses, port));
    }
    all
}

fn endpoints(addresses: &BTreeSet<IpAddr>, port: u16) -> Wanted {
    let addresses: Vec<Value> = addresses.iter().map(|address| json!({"ip": address.to_string()})).collect();
    Wanted {
        group: "",
        plural: "endpoints",
        namespace: "default",
        object: json!({
            "kind": "Endpoints", "apiVersion": "v1",
            "metadata": {"name": "kubernetes", "namespace": "default",
                         "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{
                "addresses": addresses,
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }],
        }),
        keep: Keep::Fields(&["/subsets", "/metadata/labels"]),
    }
}

fn endpoint_slice(addresses: &BTreeSet<IpAddr>, port: u16) -> Wanted {
    let ipv4 = addresses.first().is_none_or(IpAddr::is_ipv4);
    let ready = |address: &IpAddr| json!({"addresses": [address.to_string()], "conditions": {"ready": true}});
    let endpoints: Vec<Value> = addresses.iter().map(ready).collect();
    Wanted {
        group: "discovery.k8s.io",
        plural: "endpointslices",
        namespace: "default",
        object: json!({
            "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
            "metadata": {"name": "kubernetes", "namespace": "default",
                         "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": if ipv4 { "IPv4" } else { "IPv6" },
            "endpoints": endpoints,
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }),
        keep: Keep::Fields(&["/endpoints", "/ports", "/metadata/labels"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrects_only_its_fields() {
        let wanted = endpoints(&["192.0.2.1".parse().unwrap()].into(), 6443);
        let mut stored = wanted.object.clone();
        assert!(!wanted.correct(&mut stored));
        stored["subsets"] = json!([]);
        stored["metadata"]["annotations"] = json!({"a": "b"});
        assert!(wanted.correct(&mut stored));
        assert_eq!(stored["subsets"], wanted.object["subsets"]);
        assert_eq!(stored["metadata"]["annotations"]["a"], "b");
    }
}
