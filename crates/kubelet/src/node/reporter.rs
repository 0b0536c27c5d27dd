//! Keeps the Node object true: registers, then writes the status when it changed, or when nothing
//! was written for five minutes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orlop_api::typed::Typed;
use orlop_base::clock;
use orlop_client::events::EventType;
use orlop_client::{Api, Patch};
use orlop_image::Image;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::conditions::{Health, conditions};
use super::object::{self, Facts};
use crate::context::Context;
use crate::corev1::{Node, NodeStatus};
use crate::eviction::Pressure;
use crate::resources::ResourceList;
use crate::status::seconds;

/// An unchanged status is written again after this (`nodeStatusReportFrequency`).
const REPORT_EVERY: Duration = Duration::from_secs(300);
/// Several changes at once make one write.
const SETTLE: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_secs(2);

pub struct Reporter {
    context: Arc<Context>,
    capacity: ResourceList,
    pressure: Arc<Pressure>,
    /// Why the runtime or the network is not ready.
    errors: Mutex<Vec<String>>,
}

impl Reporter {
    pub fn new(context: Arc<Context>, capacity: ResourceList, pressure: Arc<Pressure>) -> Self {
        Self { context, capacity, pressure, errors: Mutex::default() }
    }

    pub fn set_errors(&self, errors: Vec<String>) {
        *self.errors.lock().unwrap_or_else(PoisonError::into_inner) = errors;
        self.context.node_changed.notify_one();
    }

    fn nodes(&self) -> Api<Node> {
        self.context.client.all()
    }

    /// Creates the node's object with its whole status, so that one write makes it Ready; or takes
    /// over the one there is. Tries until it works.
    pub async fn register(&self) -> Node {
        loop {
            match self.try_register().await {
                Ok(node) => return node,
                Err(error) => {
                    tracing::warn!(error = %orlop_base::error::chain(&error), "unable to register node with API server");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn try_register(&self) -> Result<Node, orlop_client::Error> {
        let images = self.images().await;
        let (node, events) = self.node(&images, &[]);
        let registered = match self.nodes().create(&node).await {
            Err(error) if error.is_already_exists() => {
                let known = self.nodes().get(&self.context.config.node_name).await?;
                let known = self.label(known).await?;
                self.write(&known, &images).await?.unwrap_or(known)
            }
            created => {
                let created = created?;
                self.tell(&events);
                created
            }
        };
        self.context.node_event(EventType::Normal, "Starting", "Starting kubelet.");
        Ok(registered)
    }

    /// Labels that every node has, on a node registered before.
    async fn label(&self, known: Node) -> Result<Node, orlop_client::Error> {
        let wanted = object::labels(&self.context.config, &self.context.machine);
        let have = known.metadata.labels.clone().unwrap_or_default();
        let missing: Value = wanted
            .iter()
            .filter(|(k, v)| have.get(*k) != Some(v))
            .map(|(k, v)| (k.clone(), json!(v)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        if missing.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(known);
        }
        self.nodes()
            .patch(&self.context.config.node_name, &Patch::Merge(json!({"metadata": {"labels": missing}})))
            .await
    }

    /// Writes until `shutdown`.
    pub async fn run(&self, mut known: Node, shutdown: CancellationToken) {
        let mut due = REPORT_EVERY;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = self.context.node_changed.notified() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(due) => {}
            }
            let images = self.images().await;
            match self.write(&known, &images).await {
                Ok(Some(node)) => {
                    known = node;
                    due = REPORT_EVERY;
                }
                Ok(None) => due = REPORT_EVERY,
                Err(error) => {
                    tracing::warn!(error = %orlop_base::error::chain(&error), "updating the node's status");
                    due = RETRY;
                    match self.nodes().get_opt(&self.context.config.node_name).await {
                        Ok(Some(node)) => known = node,
                        // Deleted under us: a node that runs registers again.
                        Ok(None) => known = self.register().await,
                        Err(_) => {}
                    }
                }
            }
        }
    }

    /// `None`: nothing to write.
    async fn write(&self, known: &Node, images: &[Image]) -> Result<Option<Node>, orlop_client::Error> {
        let old = known.status.clone().unwrap_or_default();
        let (node, events) = self.node(images, old.conditions.as_deref().unwrap_or_default());
        let new = NodeStatus {
            volumes_attached: old.volumes_attached.clone(),
            volumes_in_use: old.volumes_in_use.clone(),
            config: old.config.clone(),
            ..node.status.unwrap_or_default()
        };
        let patch = patch(&to_value(&old), &to_value(&new));
        let written = self.nodes().patch_status(&self.context.config.node_name, &Patch::Strategic(patch)).await?;
        self.tell(&events);
        Ok(Some(written))
    }

    fn node(&self, images: &[Image], old: &[crate::corev1::NodeCondition]) -> (Node, Vec<&'static str>) {
        let context = &self.context;
        let health = Health {
            memory_pressure: self.pressure.memory(),
            disk_pressure: self.pressure.disk(),
            pid_pressure: self.pressure.pids(),
            errors: self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            limitations: context.runtime.limitations(),
        };
        let (conditions, events) = conditions(&health, old, &seconds(clock::now()));
        let facts = Facts {
            config: &context.config,
            machine: &context.machine,
            capacity: &self.capacity,
            allocatable: &context.allocatable,
            runtime_version: &context.runtime.version(),
            user_namespaces: context.runtime.user_namespaces(),
            images,
        };
        (object::node(&facts, conditions), events)
    }

    async fn images(&self) -> Vec<Image> {
        self.context.images.list().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "listing images for the node's status");
            Vec::new()
        })
    }

    fn tell(&self, events: &[&'static str]) {
        for event in events {
            let message = format!("Node {} status is now: {event}", self.context.config.node_name);
            self.context.node_event(EventType::Normal, event, message);
        }
    }
}

fn to_value(status: &NodeStatus) -> Value {
    let node = Node { status: Some(status.clone()), ..Node::default() };
    let mut value: Value = serde_json::from_slice(&Typed::encode(&node)).unwrap_or_default();
    value["status"].take()
}

/// Changed fields; conditions always, for their heartbeat. Addresses are replaced whole: they merge
/// by type, and a node can have two of one type (kubernetes#79391).
fn patch(old: &Value, new: &Value) -> Value {
    let mut patch = serde_json::Map::new();
    for (field, value) in new.as_object().into_iter().flatten() {
        match field.as_str() {
            "conditions" => {
                patch.insert(field.clone(), value.clone());
            }
            _ if old.get(field) == Some(value) => {}
            "addresses" => {
                let mut addresses = value.as_array().cloned().unwrap_or_default();
                addresses.push(json!({"$patch": "replace"}));
                patch.insert(field.clone(), Value::Array(addresses));
            }
            _ => {
                patch.insert(field.clone(), value.clone());
            }
        }
    }
    json!({ "status": patch })
}
