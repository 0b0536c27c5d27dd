//! Whether an APIService's server can be reached, as far as objects tell
//! (`controllers/status/remote/remote_available_controller.go`). Pure.

use orlop_api::Value;

/// Why not: reason and message of the condition `Available`.
#[derive(Debug, PartialEq, Eq)]
pub struct Unavailable {
    pub reason: &'static str,
    pub message: String,
}

/// What of a Service and its slices stands in the way of `port`.
pub fn obstacle(
    (namespace, name, port): (&str, &str, u16),
    service: Option<&Value>,
    slices: &[Value],
) -> Option<Unavailable> {
    let not = |reason, message: String| Some(Unavailable { reason, message });
    let Some(service) = service else {
        return not("ServiceNotFound", format!("service/{name} in {namespace:?} is not present"));
    };
    if service["spec"]["type"] != "ClusterIP" {
        return None;
    }
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let Some(found) = ports.find(|found| found["port"] == port) else {
        let message = format!("service/{name} in {namespace:?} is not listening on port {port}");
        return not("ServicePortError", message);
    };
    if slices.is_empty() {
        let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
        return not("EndpointsNotFound", message);
    }
    let port_name = found["name"].as_str().unwrap_or_default();
    if !slices.iter().any(|slice| leads_to(slice, port_name)) {
        let message = format!(
            "endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
        );
        return not("MissingEndpoints", message);
    }
    None
}

fn leads_to(slice: &Value, port_name: &str) -> bool {
    let list = |field: &str| slice[field].as_array().into_iter().flatten();
    list("endpoints").any(|endpoint| endpoint["conditions"]["ready"] != false)
        && list("ports").any(|port| port["name"] == port_name && port["port"].is_number())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_stands_in_the_way_is_named() {
        let service = json!({"spec": {"type": "ClusterIP", "ports": [{"name": "https", "port": 443}]}});
        let slice = |ready: bool, name: &str| json!({"endpoints": [{"conditions": {"ready": ready}}], "ports": [{"name": name, "port": 8443}]});
        let reason = |service: Option<&Value>, port, slices: &[Value]| {
            obstacle(("ns", "api", port), service, slices).map(|obstacle| obstacle.reason)
        };
        assert_eq!(reason(None, 443, &[]), Some("ServiceNotFound"));
        assert_eq!(reason(Some(&service), 80, &[]), Some("ServicePortError"));
        assert_eq!(reason(Some(&service), 443, &[]), Some("EndpointsNotFound"));
        assert_eq!(
            reason(Some(&service), 443, &[slice(false, "https"), slice(true, "http")]),
            Some("MissingEndpoints")
        );
        assert_eq!(reason(Some(&service), 443, &[slice(true, "https")]), None);
        let named = json!({"spec": {"type": "ExternalName", "externalName": "api.example.com"}});
        assert_eq!(reason(Some(&named), 443, &[]), None);
        assert_eq!(
            obstacle(("ns", "api", 80), Some(&service), &[]).map(|obstacle| obstacle.message).as_deref(),
            Some("service/api in \"ns\" is not listening on port 80")
        );
    }
}
