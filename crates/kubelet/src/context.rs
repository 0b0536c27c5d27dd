//! What every part of the node agent shares.

use std::path::PathBuf;
use std::sync::Arc;

use orlop_api::typed::Typed;
use orlop_client::Client;
use orlop_client::cache::Cache;
use orlop_client::events::{EventType, Recorder, reference};
use orlop_image::ImageService;
use orlop_runtime::{ContainerRuntime, PodNetwork};
use tokio::sync::Notify;

use crate::config::KubeletConfig;
use crate::corev1::{Container, Node, ObjectReference, Service};
use crate::images::collector::Uses;
use crate::images::puller::Puller;
use crate::metrics::Metrics;
use crate::node::gauges::Gauges;
use crate::node::machine::Machine;
use crate::objects::Objects;
use crate::observed::Observed;
use crate::pod::spec::{NodePod, Role};
use crate::pods::Wakers;
use crate::resources::ResourceList;
use crate::volumes::mounter::Mounter;
use crate::volumes::token::Tokens;

pub struct Context {
    pub config: KubeletConfig,
    pub client: Client,
    pub runtime: Arc<dyn ContainerRuntime>,
    pub images: Arc<dyn ImageService>,
    pub network: Arc<dyn PodNetwork>,
    pub mounter: Arc<dyn Mounter>,
    pub events: Recorder,
    pub pods: Arc<Wakers>,
    pub observed: Arc<Observed>,
    pub objects: Objects,
    pub services: Cache<Service>,
    pub tokens: Tokens,
    pub puller: Puller,
    pub metrics: Metrics,
    pub machine: Machine,
    pub gauges: Arc<dyn Gauges>,
    pub image_uses: Uses,
    /// What all pods together may use.
    pub pods_limit: ResourceList,
    pub allocatable: ResourceList,
    /// Something that the node's status shows has changed.
    pub node_changed: Notify,
    /// When this agent started, wall clock.
    pub started_nanos: i64,
}

impl Context {
    pub fn pods_dir(&self) -> PathBuf {
        self.config.dirs.root.join("pods")
    }

    pub fn pod_dir(&self, pod: &NodePod) -> PathBuf {
        self.pods_dir().join(pod.uid())
    }

    pub fn pod_event(&self, pod: &NodePod, kind: EventType, reason: &str, message: impl Into<String>) {
        self.events.event(&reference(&*pod.object), kind, reason, message);
    }

    /// An event about this node; by upstream's custom its name stands for its uid.
    pub fn node_event(&self, kind: EventType, reason: &str, message: impl Into<String>) {
        let about = ObjectReference {
            kind: Some(Node::KIND.to_owned()),
            name: Some(self.config.node_name.clone()),
            uid: Some(self.config.node_name.clone()),
            ..ObjectReference::default()
        };
        self.events.event(&about, kind, reason, message);
    }

    /// An event about one container of a pod.
    pub fn container_event(
        &self,
        pod: &NodePod,
        name: &str,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.events.event(&container_reference(pod, name), kind, reason, message);
    }

    pub fn warn(&self, pod: &NodePod, container: &Container, reason: &str, message: impl Into<String>) {
        self.container_event(pod, &container.name, EventType::Warning, reason, message);
    }

    pub fn note(&self, pod: &NodePod, container: &Container, reason: &str, message: impl Into<String>) {
        self.container_event(pod, &container.name, EventType::Normal, reason, message);
    }
}

fn container_reference(pod: &NodePod, name: &str) -> ObjectReference {
    let list = match pod.container(name) {
        Some((Role::Init | Role::Sidecar, _)) => "initContainers",
        Some((Role::Ephemeral, _)) => "ephemeralContainers",
        _ => "containers",
    };
    ObjectReference { field_path: Some(format!("spec.{list}{{{name}}}")), ..reference(&*pod.object) }
}
