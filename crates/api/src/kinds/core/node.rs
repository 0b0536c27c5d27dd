use std::collections::BTreeSet;

use crate::kinds::prelude::*;
use crate::kinds::prepare::{remove, set};
use crate::table::{Now, age, cells, columns, or};

pub struct Node;

facts!(
    cluster("", "Node", "nodes")
        .short(&["no"])
        .subresource("proxy", "NodeProxyOptions", &["create", "delete", "get", "patch", "update"])
        .status()
);

/// Behind InPlacePodVerticalScalingSchedulerPreemption, which is off.
const PREEMPTION_POLICY: &str = "spec.podPreemptionPolicy";

impl Kind for Node {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: node::node,
        update: node::update,
        "status": node::status,
        warn: node::warnings,
    }

    fn set_defaults(&self, version: &str, obj: &mut Value) {
        if let Some(schema) = self.schema(version) {
            crate::defaults::apply(&schema, obj);
        }
        unite_pod_cidrs(obj);
    }

    fn field_labels(&self) -> FieldLabels {
        field_labels!["spec.unschedulable" => flag]
    }

    /// Nodes register with their status. Dynamic kubelet configuration is gone.
    fn prepare_create(&self, obj: &mut Value) {
        remove(obj, "spec.configSource");
        remove(obj, "status.config");
        remove(obj, PREEMPTION_POLICY);
    }

    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        self.reset_fields("").keep_old(obj, old);
        if !old.has("spec.configSource") {
            remove(obj, "spec.configSource");
        }
        if !old.has(PREEMPTION_POLICY) {
            remove(obj, PREEMPTION_POLICY);
        }
    }

    fn prepare_subresource(&self, subresource: &str, obj: &mut Value, old: &Value) {
        self.reset_fields(subresource).keep_old(obj, old);
        if !old.has("status.config") {
            remove(obj, "status.config");
        }
    }

    fn columns(&self) -> Vec<Column> {
        columns(
            "Name, Status, Roles, Age, Version, Internal-IP*, External-IP*, OS-Image*, Kernel-Version*, Container-Runtime*",
        )
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let info = obj.at("status.nodeInfo");
        let kernel = or(info.text("kernelVersion"), "<unknown>");
        let kernel = match info.text("architecture") {
            "" => kernel.to_owned(),
            architecture => format!("{kernel} ({architecture})"),
        };
        cells![
            meta::name(obj),
            status(obj),
            or(&roles(obj), "<none>"),
            age(obj, now),
            info.text("kubeletVersion"),
            address(obj, "InternalIP"),
            address(obj, "ExternalIP"),
            or(info.text("osImage"), "<unknown>"),
            kernel,
            or(info.text("containerRuntimeVersion"), "<unknown>")
        ]
    }
}

/// `podCIDR` is the first of `podCIDRs`, and where they differ it is the one that counts, for old clients.
fn unite_pod_cidrs(node: &mut Value) {
    let one = node.text("spec.podCIDR").to_owned();
    let first = node.list("spec.podCIDRs").first().cloned();
    match first {
        Some(first) if one.is_empty() => set(node, "spec.podCIDR", first),
        first if !one.is_empty() && first.as_ref().and_then(Value::as_str) != Some(&one) => {
            set(node, "spec.podCIDRs", vec![one]);
        }
        _ => {}
    }
}

/// `Ready,SchedulingDisabled`
fn status(node: &Value) -> String {
    let ready = match node.list("status.conditions").iter().rfind(|c| c["type"] == "Ready") {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    format!("{ready}{}", if node.flag("spec.unschedulable") { ",SchedulingDisabled" } else { "" })
}

/// By the labels `node-role.kubernetes.io/<role>` and `kubernetes.io/role`.
fn roles(node: &Value) -> String {
    let role = |(key, value): (&'_ String, &'_ Value)| match key.strip_prefix("node-role.kubernetes.io/") {
        Some(role) => Some(role.to_owned()),
        None => value.as_str().filter(|_| key == "kubernetes.io/role").map(str::to_owned),
    };
    let roles: BTreeSet<String> =
        node.map("metadata.labels").iter().filter_map(role).filter(|role| !role.is_empty()).collect();
    roles.into_iter().collect::<Vec<_>>().join(",")
}

fn address<'a>(node: &'a Value, ty: &str) -> &'a str {
    node.list("status.addresses").iter().find(|a| a["type"] == ty).map_or("<none>", |a| a.text("address"))
}
