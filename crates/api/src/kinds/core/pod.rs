use crate::kinds::prelude::*;

pub struct Pod;

facts!(
    namespaced("", "Pod", "pods")
        .short(&["po"])
        .categories(&["all"])
        .subresource("attach", "PodAttachOptions", &["create", "get"])
        .subresource("binding", "Binding", &["create"])
        .subresource("ephemeralcontainers", "Pod", &["get", "patch", "update"])
        .subresource_of("eviction", ("policy", "v1", "Eviction"), &["create"])
        .subresource("exec", "PodExecOptions", &["create", "get"])
        .subresource("log", "Pod", &["get"])
        .subresource("portforward", "PodPortForwardOptions", &["create", "get"])
        .subresource("proxy", "PodProxyOptions", &["create", "delete", "get", "patch", "update"])
        .subresource("resize", "Pod", &["get", "patch", "update"])
        .status()
);

impl Kind for Pod {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
