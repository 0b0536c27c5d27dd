//! Does this node take a pod? Checked once, before anything is made for it
//! (`pkg/kubelet/lifecycle`, `pkg/kubelet/sysctl`).

mod affinity;
mod fit;
mod ports;
mod sysctls;
mod taints;

use std::collections::BTreeMap;

use crate::corev1::Taint;
use crate::pod::spec::NodePod;
use crate::resources::ResourceList;
use crate::status::Verdict;

pub use fit::resize_fits;

/// The node as admission sees it.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub allocatable: ResourceList,
    pub allowed_unsafe_sysctls: Vec<String>,
    /// The node is short of memory, so that only what cannot be told off may come.
    pub memory_pressure: bool,
    pub disk_pressure: bool,
    pub pid_pressure: bool,
}

/// `Err`: why the pod is rejected.
pub fn admit(pod: &NodePod, others: &[&NodePod], node: &NodeView) -> Result<(), Verdict> {
    eviction_pressure(pod, node)?;
    sysctls::check(pod, &node.allowed_unsafe_sysctls)?;
    operating_system(pod)?;
    fit::check(pod, others, node)?;
    affinity::check(pod, node)?;
    if pod.spec().node_name.as_deref().is_some_and(|name| name != node.name) {
        return Err(predicate("NodeName", "node(s) didn't match the requested node name"));
    }
    ports::check(pod, others)?;
    if !pod.is_static() {
        taints::check(pod, &node.taints)?;
    }
    Ok(())
}

fn predicate(name: &str, why: &str) -> Verdict {
    rejection(name, format!("Predicate {name} failed: {why}"))
}

pub(crate) fn rejection(reason: &str, message: impl Into<String>) -> Verdict {
    Verdict { reason: reason.to_owned(), message: message.into(), disruption: None }
}

fn operating_system(pod: &NodePod) -> Result<(), Verdict> {
    let label = pod.object.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/os"));
    if label.is_some_and(|os| os != "linux") {
        let message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return Err(rejection("PodOSSelectorNodeLabelDoesNotMatch", message));
    }
    if pod.spec().os.as_ref().is_some_and(|os| os.name != "linux") {
        return Err(rejection("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"));
    }
    Ok(())
}

/// Under memory pressure best-effort pods stay out, under disk and PID pressure all but critical
/// ones (`pkg/kubelet/eviction`).
fn eviction_pressure(pod: &NodePod, node: &NodeView) -> Result<(), Verdict> {
    use crate::resources::qos::{QosClass, qos_class};
    if crate::eviction::is_critical(pod) {
        return Ok(());
    }
    let pressure = Taint {
        key: "node.kubernetes.io/memory-pressure".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    let tolerated = taints::tolerated(pod, &pressure);
    let memory = node.memory_pressure && qos_class(pod.spec()) == QosClass::BestEffort && !tolerated;
    let conditions =
        [("MemoryPressure", memory), ("DiskPressure", node.disk_pressure), ("PIDPressure", node.pid_pressure)];
    let present: Vec<&str> = conditions.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    if present.is_empty() {
        return Ok(());
    }
    let message = format!("The node had condition: [{}]. ", present.join(" "));
    Err(rejection("Evicted", message))
}

#[cfg(test)]
mod tests {
    use orlop_api::typed::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::pod;

    fn node() -> NodeView {
        let quantity = |text: &str| Quantity(text.to_owned());
        NodeView {
            name: "n1".into(),
            labels: [("disk".to_owned(), "ssd".to_owned())].into(),
            allocatable: [("cpu", "2"), ("memory", "1Gi"), ("pods", "2")]
                .map(|(k, v)| (k.to_owned(), quantity(v)))
                .into(),
            ..NodeView::default()
        }
    }

    fn rejected(spec: Value, others: &[Value], node: &NodeView) -> (String, String) {
        let others: Vec<NodePod> = others.iter().map(|spec| pod(spec.clone())).collect();
        let refs: Vec<&NodePod> = others.iter().collect();
        match admit(&pod(spec), &refs, node) {
            Ok(()) => (String::new(), String::new()),
            Err(verdict) => (verdict.reason, verdict.message),
        }
    }

    #[test]
    fn reasons_in_upstreams_words() {
        let asks = |cpu: &str| json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": cpu}}}]});
        let port = |ip: &str| json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 80, "hostIP": ip}]}]});
        let plain = || json!({"containers": [{"name": "a"}]});
        let with = |key: &str, value: Value| {
            let mut spec = plain();
            spec[key] = value;
            spec
        };
        for (spec, others, reason, message) in [
            (plain(), vec![], "", ""),
            (
                asks("1500m"),
                vec![asks("600m")],
                "OutOfcpu",
                "Node didn't have enough resource: cpu, requested: 1500, used: 600, capacity: 2000",
            ),
            (
                plain(),
                vec![plain(), plain()],
                "OutOfpods",
                "Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2",
            ),
            (
                port("10.0.0.1"),
                vec![port("")],
                "NodePorts",
                "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
            ),
            (port("10.0.0.1"), vec![port("10.0.0.2")], "", ""),
            (
                with("nodeSelector", json!({"disk": "hdd"})),
                vec![],
                "NodeAffinity",
                "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
            ),
            (with("nodeSelector", json!({"disk": "ssd"})), vec![], "", ""),
            (
                with("nodeName", json!("n2")),
                vec![],
                "NodeName",
                "Predicate NodeName failed: node(s) didn't match the requested node name",
            ),
            (
                with("os", json!({"name": "windows"})),
                vec![],
                "PodOSNotSupported",
                "Failed to admit pod as the OS field doesn't match node OS",
            ),
            (
                with("securityContext", json!({"sysctls": [{"name": "kernel.msgmax", "value": "1"}]})),
                vec![],
                "SysctlForbidden",
                "forbidden sysctl: \"kernel.msgmax\" not allowlisted",
            ),
            (
                with("securityContext", json!({"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]})),
                vec![],
                "",
                "",
            ),
        ] {
            assert_eq!(rejected(spec.clone(), &others, &node()), (reason.into(), message.into()), "{spec}");
        }
    }

    #[test]
    fn taints_and_pressure() {
        let tainted = NodeView {
            taints: vec![Taint { key: "k".into(), effect: "NoExecute".into(), ..Taint::default() }],
            ..node()
        };
        let plain = json!({"containers": [{"name": "a"}]});
        assert_eq!(rejected(plain.clone(), &[], &tainted).0, "TaintToleration");
        let mut tolerant = plain.clone();
        tolerant["tolerations"] = json!([{"operator": "Exists"}]);
        assert_eq!(rejected(tolerant, &[], &tainted).0, "");
        let pressed = NodeView { memory_pressure: true, ..node() };
        assert_eq!(rejected(plain.clone(), &[], &pressed).0, "Evicted");
        let mut burstable = plain;
        burstable["containers"][0]["resources"] = json!({"requests": {"memory": "1Mi"}});
        assert_eq!(rejected(burstable, &[], &pressed).0, "");
    }
}
