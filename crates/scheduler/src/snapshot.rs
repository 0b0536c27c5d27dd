//! The cluster as one decision sees it, kept current change by change.

use std::collections::BTreeMap;
use std::sync::Arc;

use orlop_api::typed::Typed;
use orlop_api::typed::kinds::Node;

use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Nodes, the pods on them (assumed ones too), and pods nominated to a node.
#[derive(Debug, Default)]
pub struct Snapshot {
    nodes: Vec<NodeInfo>,
    index: BTreeMap<String, usize>,
    /// uid -> node name.
    pods: BTreeMap<String, String>,
    /// uid -> node name, of pods nominated to one.
    nominated: BTreeMap<String, String>,
    /// node name -> uid -> pod: the same, as every look at a node asks for it.
    nominees: BTreeMap<String, BTreeMap<String, Arc<PodInfo>>>,
    /// How many nodes have each image.
    image_spread: BTreeMap<String, usize>,
}

impl Snapshot {
    /// Nodes that exist, in a stable order.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &NodeInfo> {
        self.nodes.iter()
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn node_at(&self, position: usize) -> &NodeInfo {
        &self.nodes[position]
    }

    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.index.get(name).map(|i| &self.nodes[*i]).filter(|n| n.node.is_some())
    }

    pub fn set_node(&mut self, node: Arc<Node>) {
        let position = self.position(node.name());
        let info = &mut self.nodes[position];
        let old: Vec<String> = info.images.keys().cloned().collect();
        info.set_node(node);
        let new: Vec<String> = info.images.keys().cloned().collect();
        self.spread(&old, &new);
    }

    /// Forgets a node; its pods stay known until they go themselves.
    pub fn remove_node(&mut self, name: &str) {
        let Some(position) = self.index.remove(name) else { return };
        let info = self.nodes.swap_remove(position);
        if let Some(moved) = self.nodes.get(position) {
            self.index.insert(moved.name.clone(), position);
        }
        let old: Vec<String> = info.images.keys().cloned().collect();
        self.spread(&old, &[]);
        self.pods.retain(|uid, _| !info.pods.contains_key(uid));
    }

    /// Puts a pod on a node, wherever it was before.
    pub fn add_pod(&mut self, node: &str, pod: Arc<PodInfo>) {
        self.remove_pod(&pod.uid);
        let Some(position) = self.index.get(node).copied() else {
            return;
        };
        self.pods.insert(pod.uid.clone(), node.to_owned());
        self.nodes[position].add(pod);
    }

    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let node = self.pods.remove(uid)?;
        let position = self.index.get(&node)?;
        self.nodes[*position].remove(uid)
    }

    /// The node a pod is on, or assumed to be.
    pub fn node_of(&self, uid: &str) -> Option<&str> {
        self.pods.get(uid).map(String::as_str)
    }

    pub fn nominate(&mut self, node: &str, pod: Arc<PodInfo>) {
        self.forget_nomination(&pod.uid);
        self.nominated.insert(pod.uid.clone(), node.to_owned());
        self.nominees.entry(node.to_owned()).or_default().insert(pod.uid.clone(), pod);
    }

    pub fn forget_nomination(&mut self, uid: &str) {
        let Some(node) = self.nominated.remove(uid) else { return };
        if let Some(pods) = self.nominees.get_mut(&node) {
            pods.remove(uid);
            if pods.is_empty() {
                self.nominees.remove(&node);
            }
        }
    }

    pub fn nomination_of(&self, uid: &str) -> Option<&str> {
        self.nominated.get(uid).map(String::as_str)
    }

    /// The node with the pods that are nominated to it and as important as `pod`, when there are any:
    /// they must find room too.
    pub fn with_nominated(&self, node: &NodeInfo, pod: &PodInfo) -> Option<NodeInfo> {
        let mut grown = None;
        for other in self.nominees.get(&node.name)?.values() {
            if other.uid != pod.uid && other.priority >= pod.priority {
                grown.get_or_insert_with(|| node.clone()).add(other.clone());
            }
        }
        grown
    }

    pub fn image_spread(&self, image: &str) -> usize {
        self.image_spread.get(image).copied().unwrap_or(0)
    }

    fn position(&mut self, name: &str) -> usize {
        if let Some(position) = self.index.get(name) {
            return *position;
        }
        self.nodes.push(NodeInfo { name: name.to_owned(), ..NodeInfo::default() });
        self.index.insert(name.to_owned(), self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn spread(&mut self, old: &[String], new: &[String]) {
        for image in old {
            if let Some(count) = self.image_spread.get_mut(image) {
                *count -= 1;
                if *count == 0 {
                    self.image_spread.remove(image);
                }
            }
        }
        for image in new {
            *self.image_spread.entry(image.clone()).or_default() += 1;
        }
    }
}
