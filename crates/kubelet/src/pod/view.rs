//! The observed side of a pod: its sandboxes and containers as the runtime has them.

use std::net::IpAddr;

use orlop_runtime::{Container, ContainerState, Sandbox};

use super::spec::NodePod;

/// A container the runtime knows, with what was read of it besides.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    pub runtime: Container,
    /// [`super::spec::fingerprint`] of the spec it was made from.
    pub fingerprint: String,
    /// The runtime's message, then the termination message.
    pub message: String,
}

impl Instance {
    pub fn id(&self) -> &str {
        &self.runtime.id
    }

    pub fn name(&self) -> &str {
        &self.runtime.name
    }

    pub fn state(&self) -> ContainerState {
        self.runtime.state
    }

    pub fn is_running(&self) -> bool {
        self.state() == ContainerState::Running
    }

    pub fn has_exited(&self) -> bool {
        self.state() == ContainerState::Exited
    }

    pub fn exit_code(&self) -> i32 {
        self.runtime.exit_code
    }

    /// How often the container had started before.
    pub fn restart_count(&self) -> i32 {
        i32::try_from(self.runtime.attempt).unwrap_or(i32::MAX)
    }

    /// An exit that did not succeed, or an end by the OOM killer.
    pub fn failed(&self) -> bool {
        self.has_exited() && (self.exit_code() != 0 || self.runtime.reason == "OOMKilled")
            || self.state() == ContainerState::Unknown
    }
}

/// Everything of one pod in the runtime.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodView {
    /// Newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Newest first.
    pub containers: Vec<Instance>,
    /// Addresses of the newest sandbox, while it is ready.
    pub ips: Vec<IpAddr>,
}

/// Why a pod needs another sandbox; the texts are the condition's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SandboxNeed {
    None,
    Missing,
    Several,
    NotReady,
    NoAddress,
}

impl SandboxNeed {
    pub fn message(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Missing => "No sandbox for pod can be found. Need to start a new one",
            Self::Several => "Multiple sandboxes are ready for Pod. Need to reconcile them",
            Self::NotReady => "No ready sandbox for pod can be found. Need to start a new one",
            Self::NoAddress => "Sandbox for pod has no IP address. Need to start a new one",
        }
    }
}

impl PodView {
    pub fn sandbox_need(&self, pod: &NodePod) -> SandboxNeed {
        let Some(latest) = self.sandboxes.first() else { return SandboxNeed::Missing };
        if self.sandboxes.iter().filter(|s| s.ready).count() > 1 {
            return SandboxNeed::Several;
        }
        if !latest.ready {
            return SandboxNeed::NotReady;
        }
        if !pod.host_network() && self.ips.is_empty() {
            return SandboxNeed::NoAddress;
        }
        SandboxNeed::None
    }

    /// The attempt number a new sandbox gets.
    pub fn next_attempt(&self) -> u32 {
        self.sandboxes.first().map_or(0, |s| s.attempt + 1)
    }

    pub fn ready_sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first().filter(|s| s.ready)
    }

    /// The newest instance of a container, in whichever sandbox.
    pub fn latest(&self, name: &str) -> Option<&Instance> {
        self.containers.iter().find(|c| c.name() == name)
    }

    /// The newest instance in the ready sandbox.
    pub fn active(&self, name: &str) -> Option<&Instance> {
        let sandbox = self.ready_sandbox()?;
        self.containers.iter().find(|c| c.name() == name && c.runtime.sandbox_id == sandbox.id)
    }

    pub fn by_id(&self, id: &str) -> Option<&Instance> {
        self.containers.iter().find(|c| c.id() == id)
    }

    pub fn running(&self) -> impl Iterator<Item = &Instance> {
        self.containers.iter().filter(|c| c.is_running())
    }

    pub fn has_running(&self) -> bool {
        self.running().next().is_some()
    }

    /// Has a main container ever been made, in any sandbox?
    pub fn any_main_created(&self, pod: &NodePod) -> bool {
        let mains = pod.main_containers().iter();
        mains.filter_map(|c| self.latest(&c.name)).any(|i| i.state() != ContainerState::Unknown)
    }

    /// Has a main container been made in this sandbox? Then initialization is over for it.
    pub fn any_main_active(&self, pod: &NodePod) -> bool {
        pod.main_containers().iter().any(|c| self.active(&c.name).is_some())
    }

    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }
}
