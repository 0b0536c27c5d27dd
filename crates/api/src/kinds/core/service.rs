use crate::kinds::prelude::*;

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
}
