use crate::kinds::prelude::*;
use crate::kinds::prepare::{list_mut, remove, set};

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

    fn returns_deleted(&self) -> bool {
        true
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn field_labels(&self) -> &'static [FieldLabel] {
        field_labels!["spec.clusterIP", "spec.type"]
    }

    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        self.reset_fields("").keep_old(obj, old);
        drop_fields_of_old_type(obj, old);
        if obj.text("spec.type") != "LoadBalancer" && obj.has("status.loadBalancer") {
            set(obj, "status.loadBalancer", json!({}));
        }
    }
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
