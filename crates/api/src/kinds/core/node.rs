use crate::kinds::prelude::*;

pub struct Node;

facts!(
    cluster("", "Node", "nodes")
        .short(&["no"])
        .subresource("proxy", "NodeProxyOptions", &["create", "delete", "get", "patch", "update"])
        .status()
);

impl Kind for Node {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
