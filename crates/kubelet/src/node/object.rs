//! The Node object: registration and status (`pkg/kubelet/kubelet_node_status.go`).

use std::collections::BTreeMap;

use orlop_api::typed::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use orlop_image::Image;

use super::machine::Machine;
use crate::config::KubeletConfig;
use crate::corev1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures,
    NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeSpec, NodeStatus, NodeSwapStatus, NodeSystemInfo, Taint,
};
use crate::eviction::threshold::Threshold;
use crate::resources::{Amount, CPU, EPHEMERAL_STORAGE, HUGEPAGES_PREFIX, MEMORY, PODS, ResourceList};

/// The Kubernetes version this node speaks, with this project's own.
pub const KUBELET_VERSION: &str = concat!("v1.37.0+orlop-", env!("CARGO_PKG_VERSION"));

/// Images listed in the status, and names per image (`nodeStatusMaxImages`, `MaxNamesPerImageInNodeStatus`).
const MAX_IMAGES: usize = 50;
const MAX_NAMES: usize = 5;

/// Optional behaviours that pods may need and this node has (KEP-5328).
const DECLARED_FEATURES: [&str; 3] =
    ["ExtendWebSocketsToKubelet", "InPlacePodVerticalScalingInitContainers", "RestartAllContainersOnContainerExits"];

/// What the status is made of beside the machine and the configuration.
pub struct Facts<'a> {
    pub config: &'a KubeletConfig,
    pub machine: &'a Machine,
    pub capacity: &'a ResourceList,
    pub allocatable: &'a ResourceList,
    pub runtime_version: &'a str,
    /// Pods may have users of their own.
    pub user_namespaces: bool,
    pub images: &'a [Image],
}

/// The object that registers this node.
pub fn node(facts: &Facts<'_>, conditions: Vec<NodeCondition>) -> Node {
    let mut node = Node::default();
    node.metadata.name = Some(facts.config.node_name.clone());
    node.metadata.labels = Some(labels(facts.config, facts.machine));
    let annotation = ("volumes.kubernetes.io/controller-managed-attach-detach".to_owned(), "true".to_owned());
    node.metadata.annotations = Some([annotation].into());
    let taints: Vec<Taint> = facts.config.taints.iter().map(taint).collect();
    node.spec = Some(NodeSpec { taints: (!taints.is_empty()).then_some(taints), ..NodeSpec::default() });
    node.status = Some(status(facts, conditions));
    node
}

fn taint(taint: &crate::config::Taint) -> Taint {
    let value = (!taint.value.is_empty()).then(|| taint.value.clone());
    Taint { key: taint.key.clone(), value, effect: taint.effect.clone(), time_added: None }
}

/// Labels that every node has, and the configured ones.
pub fn labels(config: &KubeletConfig, machine: &Machine) -> BTreeMap<String, String> {
    let arch = machine.architecture;
    let own = [
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
    ];
    let own = own.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
    own.chain(config.labels.clone()).collect()
}

/// What RuntimeClasses may ask for: the default, and the name under which everybody knows it.
pub const HANDLERS: [&str; 2] = ["", "runc"];

pub fn status(facts: &Facts<'_>, conditions: Vec<NodeCondition>) -> NodeStatus {
    let port = i32::from(facts.config.server.address.port());
    let yes = Some(true);
    NodeStatus {
        addresses: Some(addresses(facts.config)),
        capacity: Some(facts.capacity.clone()),
        allocatable: Some(facts.allocatable.clone()),
        conditions: Some(conditions),
        daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port }) }),
        node_info: Some(info(facts)),
        images: Some(images(facts.images)),
        features: Some(NodeFeatures { supplemental_groups_policy: yes }),
        runtime_handlers: Some(HANDLERS.map(|name| handler(name, facts.user_namespaces)).into()),
        declared_features: Some(DECLARED_FEATURES.map(str::to_owned).to_vec()),
        ..NodeStatus::default()
    }
}

fn handler(name: &str, user_namespaces: bool) -> NodeRuntimeHandler {
    let features =
        NodeRuntimeHandlerFeatures { recursive_read_only_mounts: Some(true), user_namespaces: Some(user_namespaces) };
    NodeRuntimeHandler { name: Some(name.to_owned()), features: Some(features) }
}

fn addresses(config: &KubeletConfig) -> Vec<NodeAddress> {
    let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
    let ips = config.node_ips.iter().map(|ip| address("InternalIP", ip.to_string()));
    ips.chain([address("Hostname", config.node_name.clone())]).collect()
}

fn info(facts: &Facts<'_>) -> NodeSystemInfo {
    let machine = facts.machine;
    NodeSystemInfo {
        architecture: machine.architecture.to_owned(),
        boot_id: machine.boot_id.clone(),
        container_runtime_version: facts.runtime_version.to_owned(),
        kernel_version: machine.kernel_version.clone(),
        kube_proxy_version: String::new(),
        kubelet_version: KUBELET_VERSION.to_owned(),
        machine_id: machine.machine_id.clone(),
        operating_system: "linux".to_owned(),
        os_image: machine.os_image.clone(),
        running_in_user_namespace: None,
        swap: (machine.swap_bytes > 0).then_some(NodeSwapStatus { capacity: Some(machine.swap_bytes) }),
        system_uuid: machine.system_uuid.clone(),
    }
}

/// The largest images, by their names.
fn images(images: &[Image]) -> Vec<ContainerImage> {
    let mut images: Vec<&Image> = images.iter().collect();
    images.sort_by_key(|image| std::cmp::Reverse(image.size_bytes));
    let listed = images.into_iter().take(MAX_IMAGES).map(|image| {
        let names = image.repo_digests.iter().chain(&image.repo_tags).take(MAX_NAMES).cloned().collect();
        ContainerImage { names: Some(names), size_bytes: i64::try_from(image.size_bytes).ok() }
    });
    listed.collect()
}

/// What the machine has; `storage_bytes` is the size of the file system below the pods.
pub fn capacity(config: &KubeletConfig, machine: &Machine, storage_bytes: i64) -> ResourceList {
    let mut capacity: ResourceList = [
        (CPU, Amount::units(machine.cpus)),
        (MEMORY, kibibytes(machine.memory_bytes)),
        (PODS, Amount::units(i64::from(config.max_pods))),
        (EPHEMERAL_STORAGE, kibibytes(storage_bytes)),
    ]
    .into_iter()
    .map(|(name, amount)| (name.to_owned(), amount.to_quantity()))
    .collect();
    for (size, bytes) in &machine.hugepages {
        capacity.insert(format!("{HUGEPAGES_PREFIX}{size}"), Amount::bytes(*bytes).to_quantity());
    }
    capacity
}

/// Printed in `Ki`, as upstream's come from files that count so.
fn kibibytes(bytes: i64) -> Amount {
    Amount::bytes(bytes / 1024 * 1024)
}

/// What all pods together may use: all but what is reserved.
pub fn pods_limit(config: &KubeletConfig, capacity: &ResourceList) -> ResourceList {
    let mut left = capacity.clone();
    for (name, reserved) in &config.reserved {
        if let Some(amount) = Amount::parse(reserved) {
            take(&mut left, name, &amount);
        }
    }
    left
}

/// What the scheduler may give away: of that, less what hard eviction keeps free and huge pages take.
pub fn allocatable(config: &KubeletConfig, capacity: &ResourceList) -> ResourceList {
    let mut left = pods_limit(config, capacity);
    for (signal, name) in [("memory.available", MEMORY), ("nodefs.available", EPHEMERAL_STORAGE)] {
        let total = Amount::of(Some(capacity), name);
        if let Some(threshold) = config.eviction.hard.get(signal).and_then(|t| Threshold::parse(signal, t).ok()) {
            take(&mut left, name, &Amount::bytes(threshold.units(total.value())));
        }
    }
    let pages: Vec<Quantity> =
        capacity.iter().filter(|(name, _)| name.starts_with(HUGEPAGES_PREFIX)).map(|(_, q)| q.clone()).collect();
    for pages in pages.iter().filter_map(|q| Amount::parse(&q.0)) {
        take(&mut left, MEMORY, &pages);
    }
    left
}

fn take(left: &mut ResourceList, name: &str, amount: &Amount) {
    if let Some(have) = Amount::find(Some(left), name) {
        left.insert(name.to_owned(), have.saturating_sub(amount).to_quantity());
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn allocatable_is_less_than_capacity() {
        let mut config = KubeletConfig::new("n1", IpAddr::V4(Ipv4Addr::LOCALHOST));
        config.reserved = [("cpu".to_owned(), "100m".to_owned())].into();
        let machine =
            Machine { cpus: 2, memory_bytes: 1 << 30, hugepages: vec![("2Mi".into(), 4 << 20)], ..Machine::default() };
        let capacity = capacity(&config, &machine, 100 << 20);
        assert_eq!((capacity["memory"].0.as_str(), capacity["hugepages-2Mi"].0.as_str()), ("1Gi", "4Mi"));
        let allocatable = allocatable(&config, &capacity);
        assert_eq!(allocatable["cpu"].0, "1900m");
        assert_eq!(allocatable["memory"].0, "920Mi");
        assert_eq!(Amount::of(Some(&allocatable), "ephemeral-storage").value(), 90 << 20);
        assert_eq!(allocatable["pods"].0, "110");
    }
}
