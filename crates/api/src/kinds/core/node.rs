use crate::kinds::prelude::*;
use crate::kinds::prepare::remove;

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

    fn field_labels(&self) -> &'static [FieldLabel] {
        field_labels!["spec.unschedulable" => flag]
    }

    /// Nodes register with their status. Dynamic kubelet configuration is gone.
    fn prepare_create(&self, obj: &mut Value) {
        remove(obj, "spec.configSource");
        remove(obj, "status.config");
    }

    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        self.reset_fields("").keep_old(obj, old);
        if !old.has("spec.configSource") {
            remove(obj, "spec.configSource");
        }
    }

    fn prepare_subresource(&self, subresource: &str, obj: &mut Value, old: &Value) {
        self.reset_fields(subresource).keep_old(obj, old);
        if !old.has("status.config") {
            remove(obj, "status.config");
        }
    }
}
