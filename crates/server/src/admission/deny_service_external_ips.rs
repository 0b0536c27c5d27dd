//! Services may not claim addresses of others (`plugin/pkg/admission/network/denyserviceexternalips`).

use futures_util::future::BoxFuture;
use orlop_api::Value;
use orlop_api::status::StatusError;

use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct DenyServiceExternalIPs;

impl Plugin for DenyServiceExternalIPs {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    fn handles(&self, a: &Attributes) -> bool {
        matches!(a.operation, Operation::Create | Operation::Update) && a.is("", "services") && a.subresource.is_empty()
    }

    fn validate<'a>(&'a self, _: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        let allowed = adds_nothing(&a.object, a.old_object.as_deref());
        let refusal = || a.forbidden("Use of external IPs is denied by admission control");
        let result = if allowed { Ok(()) } else { Err(refusal()) };
        Box::pin(async { result })
    }
}

/// What is there may stay.
fn adds_nothing(service: &Value, old: Option<&Value>) -> bool {
    let addresses = |service: &Value| service["spec"]["externalIPs"].as_array().cloned().unwrap_or_default();
    let known = old.map(addresses).unwrap_or_default();
    addresses(service).iter().all(|address| known.contains(address))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_may_only_go() {
        let service = |addresses: Value| json!({"spec": {"externalIPs": addresses}});
        assert!(adds_nothing(&service(json!([])), None));
        assert!(!adds_nothing(&service(json!(["1.2.3.4"])), None));
        let old = service(json!(["1.2.3.4", "1.2.3.5"]));
        assert!(adds_nothing(&service(json!(["1.2.3.5"])), Some(&old)));
        assert!(!adds_nothing(&service(json!(["1.2.3.6"])), Some(&old)));
    }
}
