//! Carrying out a plan's actions: one file each. An operation works on the world and tells how it
//! went; what the node remembers of it is the worker's business.

pub mod kill;
pub mod prepare;
pub mod release;
pub mod resize;
pub mod sandbox;
pub mod start;

use crate::context::Context;
use crate::pod::spec::NodePod;

/// A step before any container that did not work: what to record, and with which reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError {
    pub event: &'static str,
    pub message: String,
}

impl SetupError {
    pub fn new(event: &'static str, message: impl Into<String>) -> Self {
        Self { event, message: message.into() }
    }

    pub fn record(&self, context: &Context, pod: &NodePod) {
        context.pod_event(pod, orlop_client::events::EventType::Warning, self.event, self.message.clone());
    }
}
