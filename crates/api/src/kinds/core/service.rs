use std::collections::BTreeSet;

use crate::field::ErrorList;
use crate::kinds::prelude::*;
use crate::kinds::prepare::{list_mut, remove, set};
use crate::table::{Now, age, cells, columns, joined, labels, or};

pub struct Service;

facts!(
    namespaced("", "Service", "services")
        .short(&["svc"])
        .categories(&["all"])
        .subresource("proxy", "ServiceProxyOptions", &["create", "delete", "get", "patch", "update"])
        .status()
);

impl Kind for Service {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: service::service,
        update: service::update,
        "status": service::status,
        warn: service::warnings,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn field_labels(&self) -> FieldLabels {
        field_labels!["spec.clusterIP", "spec.type"]
    }

    fn prepare_create(&self, obj: &mut Value) {
        self.reset_fields("").drop_from(obj);
        drop_traffic_policy(obj);
    }

    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        self.reset_fields("").keep_old(obj, old);
        drop_fields_of_old_type(obj, old);
        drop_traffic_policy(obj);
        if obj.text("spec.type") != "LoadBalancer" && obj.has("status.loadBalancer") {
            set(obj, "status.loadBalancer", json!({}));
        }
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Type, Cluster-IP, External-IP, Port(s), Age, Selector*")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let cluster_ip = obj.list("spec.clusterIPs").first().and_then(Value::as_str).unwrap_or("<none>");
        let ports = obj.list("spec.ports").iter().map(port_text).collect::<Vec<_>>().join(",");
        cells![
            meta::name(obj),
            obj.text("spec.type"),
            cluster_ip,
            external_ip(obj),
            or(&ports, "<none>"),
            age(obj, now),
            labels(obj.map("spec.selector"))
        ]
    }
}

/// What is wrong with the cluster IPs and families; the server asks before it allocates
/// (`ValidateServiceClusterIPsRelatedFields`).
pub fn cluster_ip_errors(service: &Value, old: Option<&Value>) -> ErrorList {
    let mut errors = ErrorList::default();
    crate::validation::service_ips::fields(service, old.unwrap_or(&Value::Null), &mut errors);
    errors
}

/// Values that were given for the old type and sent back unchanged go when the new type has no use for
/// them, so that a client may change `type` alone.
fn drop_fields_of_old_type(obj: &mut Value, old: &Value) {
    let loses = |uses: fn(&Value) -> bool| uses(old) && !uses(obj);
    let same = |field: &str| crate::equality::same_field(&obj["spec"], &old["spec"], field);
    let mut gone: Vec<&str> = Vec::new();
    if loses(has_cluster_ip) {
        if same("clusterIP") && same("clusterIPs") {
            gone.extend(["spec.clusterIP", "spec.clusterIPs"]);
        }
        if same("ipFamilies") {
            gone.push("spec.ipFamilies");
        }
        if same("ipFamilyPolicy") {
            gone.push("spec.ipFamilyPolicy");
        }
    }
    if loses(has_health_check_port) && same("healthCheckNodePort") {
        gone.push("spec.healthCheckNodePort");
    }
    if loses(is_load_balancer) {
        if same("allocateLoadBalancerNodePorts") {
            gone.push("spec.allocateLoadBalancerNodePorts");
        }
        if same("loadBalancerClass") {
            gone.push("spec.loadBalancerClass");
        }
    }
    if loses(is_external) && same("externalTrafficPolicy") {
        gone.push("spec.externalTrafficPolicy");
    }
    let drop_node_ports = loses(has_node_port) && node_ports(obj).all(|port| node_ports(old).any(|was| was == port));
    for path in gone {
        remove(obj, path);
    }
    if drop_node_ports {
        for port in list_mut(obj, "spec.ports").iter_mut().filter_map(Value::as_object_mut) {
            port.remove("nodePort");
        }
    }
}

/// A mere name has no traffic: upstream leaves the policy out wherever it reads one. A wrong one stays, to be refused.
fn drop_traffic_policy(obj: &mut Value) {
    let policy = obj.text("spec.internalTrafficPolicy");
    if obj.text("spec.type") == "ExternalName" && matches!(policy, "Cluster" | "Local") {
        remove(obj, "spec.internalTrafficPolicy");
    }
}

fn node_ports(service: &Value) -> impl Iterator<Item = i64> {
    service.list("spec.ports").iter().map(|port| port.int("nodePort")).filter(|port| *port != 0)
}

fn has_cluster_ip(service: &Value) -> bool {
    service.text("spec.type") != "ExternalName"
}

fn has_node_port(service: &Value) -> bool {
    matches!(service.text("spec.type"), "NodePort" | "LoadBalancer")
}

fn is_load_balancer(service: &Value) -> bool {
    service.text("spec.type") == "LoadBalancer"
}

fn has_health_check_port(service: &Value) -> bool {
    is_load_balancer(service) && service.text("spec.externalTrafficPolicy") == "Local"
}

fn is_external(service: &Value) -> bool {
    has_node_port(service) || service.text("spec.type") == "ClusterIP" && !service.list("spec.externalIPs").is_empty()
}

fn external_ip(service: &Value) -> String {
    let external = joined(service.list("spec.externalIPs"), ",");
    match service.text("spec.type") {
        "ClusterIP" | "NodePort" => or(&external, "<none>").to_owned(),
        "LoadBalancer" => match (load_balancer_addresses(service), external) {
            (balancer, external) if external.is_empty() => or(&balancer, "<pending>").to_owned(),
            (balancer, external) if balancer.is_empty() => external,
            (balancer, external) => format!("{balancer},{external}"),
        },
        "ExternalName" => service.text("spec.externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// `80/TCP`, `80:30080/TCP`
fn port_text(port: &Value) -> String {
    let (number, protocol) = (port.int("port"), port.text("protocol"));
    match port.int("nodePort") {
        node @ 1.. => format!("{number}:{node}/{protocol}"),
        _ => format!("{number}/{protocol}"),
    }
}

/// Addresses, else host names, that a load balancer reports: of a Service or of an Ingress.
pub(in crate::kinds) fn load_balancer_addresses(obj: &Value) -> String {
    let ingress = obj.list("status.loadBalancer.ingress").iter();
    let addresses: BTreeSet<&str> =
        ingress.map(|i| or(i.text("ip"), i.text("hostname"))).filter(|text| !text.is_empty()).collect();
    addresses.into_iter().collect::<Vec<_>>().join(",")
}
