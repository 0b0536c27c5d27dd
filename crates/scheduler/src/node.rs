//! A node with what is on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use orlop_api::quantity::Quantity;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::Taint;
use orlop_api::typed::kinds::Node;

use crate::kin::Census;
use crate::pod::{HostPort, PodInfo};
use crate::resource::Amounts;

/// See the module. A node that pods name but that does not (yet) exist has no `node`.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    pub name: String,
    pub node: Option<Arc<Node>>,
    pub allocatable: Amounts,
    pub allowed_pods: usize,
    /// Sums over `pods`.
    pub requested: Amounts,
    pub requested_for_scoring: Amounts,
    pub pods: BTreeMap<String, Arc<PodInfo>>,
    /// The same pods, as other pods see them.
    pub census: Census,
    /// Bytes of each image that lies on the node, under every name it has.
    pub images: BTreeMap<String, i64>,
}

impl NodeInfo {
    /// Takes over the node object, keeping the pods.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        let allocatable = status.and_then(|s| s.allocatable.as_ref());
        self.allocatable = allocatable.map(Amounts::of).unwrap_or_default();
        let pods = allocatable.and_then(|a| a.get("pods")).and_then(|q| Quantity::parse(&q.0).ok());
        self.allowed_pods = pods.map_or(0, |q| usize::try_from(q.value()).unwrap_or(0));
        self.images.clear();
        for image in status.and_then(|s| s.images.as_ref()).into_iter().flatten() {
            for name in image.names.iter().flatten() {
                self.images.insert(name.clone(), image.size_bytes.unwrap_or(0));
            }
        }
        node.name().clone_into(&mut self.name);
        self.node = Some(node);
    }

    pub fn add(&mut self, pod: Arc<PodInfo>) {
        self.remove(&pod.uid);
        self.requested.add(&pod.request);
        self.requested_for_scoring.add(&pod.request_for_scoring);
        self.census.add(&pod.kin);
        self.pods.insert(pod.uid.clone(), pod);
    }

    pub fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(uid)?;
        self.census.remove(&pod.kin);
        self.requested.subtract(&pod.request);
        self.requested_for_scoring.subtract(&pod.request_for_scoring);
        Some(pod)
    }

    pub fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.node.as_ref().and_then(|n| n.metadata.labels.as_ref()).unwrap_or(&NONE)
    }

    pub fn taints(&self) -> &[Taint] {
        self.node.as_ref().and_then(|n| n.spec.as_ref()).and_then(|s| s.taints.as_deref()).unwrap_or_default()
    }

    pub fn is_unschedulable(&self) -> bool {
        self.node.as_ref().and_then(|n| n.spec.as_ref()).and_then(|s| s.unschedulable).unwrap_or(false)
    }

    /// Whether a port could be taken beside those in use: same port and protocol meet unless both
    /// name an address, and different ones.
    pub fn has_free(&self, wanted: &HostPort) -> bool {
        let meets = |used: &HostPort| {
            let address = used.ip.is_none() || wanted.ip.is_none() || used.ip == wanted.ip;
            used.port == wanted.port && used.protocol == wanted.protocol && address
        };
        !self.pods.values().flat_map(|pod| &pod.host_ports).any(meets)
    }
}
