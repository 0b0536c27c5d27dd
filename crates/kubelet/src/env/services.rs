//! Service links: the variables that name the services of a namespace (`pkg/kubelet/envvars`).

use std::collections::BTreeMap;
use std::sync::Arc;

use orlop_api::typed::Typed;

use crate::corev1::{Service, ServicePort, ServiceSpec};

/// The API's own service, linked in every namespace.
const MASTER: (&str, &str) = ("default", "kubernetes");

/// Variables for a pod of `namespace`; without links only the API's.
pub fn variables<'a>(
    services: impl Iterator<Item = &'a Arc<Service>>,
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services.filter(|s| has_address(s)) {
        let (own_namespace, name) = (service.namespace(), service.name());
        if own_namespace == namespace && links {
            chosen.insert(name, service);
        } else if (own_namespace, name) == MASTER {
            chosen.entry(name).or_insert(service);
        }
    }
    let mut variables = BTreeMap::new();
    for (name, service) in chosen {
        if let Some(spec) = &service.spec {
            link(name, spec, &mut variables);
        }
    }
    variables
}

fn has_address(service: &Service) -> bool {
    let ip = service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref());
    ip.is_some_and(|ip| !ip.is_empty() && ip != "None")
}

fn link(name: &str, spec: &ServiceSpec, out: &mut BTreeMap<String, String>) {
    let name = variable(name);
    let ip = spec.cluster_ip.clone().unwrap_or_default();
    let ports = spec.ports.as_deref().unwrap_or_default();
    out.insert(format!("{name}_SERVICE_HOST"), ip.clone());
    for (index, port) in ports.iter().enumerate() {
        if index == 0 {
            out.insert(format!("{name}_SERVICE_PORT"), port.port.to_string());
            out.insert(format!("{name}_PORT"), url(&ip, port));
        }
        if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            out.insert(format!("{name}_SERVICE_PORT_{}", variable(port_name)), port.port.to_string());
        }
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol(port).to_uppercase());
        out.insert(format!("{prefix}_PROTO"), protocol(port).to_lowercase());
        out.insert(format!("{prefix}_PORT"), port.port.to_string());
        out.insert(format!("{prefix}_ADDR"), ip.clone());
        out.insert(prefix, url(&ip, port));
    }
}

fn url(ip: &str, port: &ServicePort) -> String {
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    format!("{}://{host}:{}", protocol(port).to_lowercase(), port.port)
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().filter(|p| !p.is_empty()).unwrap_or("TCP")
}

fn variable(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(namespace: &str, name: &str, ip: &str) -> Arc<Service> {
        let object = json!({
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIP": ip, "ports": [{"port": 80, "name": "web-ui"}, {"port": 53, "protocol": "UDP"}]},
        });
        Arc::new(Service::decode(object.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn links_of_the_namespace_and_the_api() {
        let services = [
            service("default", "kubernetes", "10.96.0.1"),
            service("a", "my-db", "10.96.0.2"),
            service("a", "h", "None"),
            service("b", "x", "1.1.1.1"),
        ];
        let vars = variables(services.iter(), "a", true);
        let names: Vec<&str> = vars.keys().map(String::as_str).filter(|k| k.starts_with("MY")).collect();
        assert_eq!(
            names,
            [
                "MY_DB_PORT",
                "MY_DB_PORT_53_UDP",
                "MY_DB_PORT_53_UDP_ADDR",
                "MY_DB_PORT_53_UDP_PORT",
                "MY_DB_PORT_53_UDP_PROTO",
                "MY_DB_PORT_80_TCP",
                "MY_DB_PORT_80_TCP_ADDR",
                "MY_DB_PORT_80_TCP_PORT",
                "MY_DB_PORT_80_TCP_PROTO",
                "MY_DB_SERVICE_HOST",
                "MY_DB_SERVICE_PORT",
                "MY_DB_SERVICE_PORT_WEB_UI",
            ]
        );
        assert_eq!(vars["MY_DB_PORT"], "tcp://10.96.0.2:80");
        assert_eq!(vars["KUBERNETES_SERVICE_HOST"], "10.96.0.1");
        assert!(!vars.keys().any(|k| k.starts_with('X') || k.starts_with('H')));
        let without: Vec<String> = variables(services.iter(), "a", false).into_keys().collect();
        assert!(without.iter().all(|k| k.starts_with("KUBERNETES_")) && !without.is_empty());
    }
}
