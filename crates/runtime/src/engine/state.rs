//! What the agent's side knows, in memory.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::records::{ContainerRecord, SandboxRecord};
use super::shim::ShimClient;
use crate::protocol::ExitRecord;
use crate::{Container, ContainerState, Sandbox};

#[derive(Default)]
pub struct State {
    pub sandboxes: BTreeMap<String, SandboxEntry>,
    pub containers: BTreeMap<String, ContainerEntry>,
}

pub struct SandboxEntry {
    pub record: Arc<SandboxRecord>,
    /// `None` when the pod's shim is gone.
    pub shim: Option<Arc<ShimClient>>,
    /// Cancelled when it is gone and what it held has been let go.
    pub gone: CancellationToken,
}

pub struct ContainerEntry {
    pub record: Arc<ContainerRecord>,
    pub phase: Phase,
    /// The plan in a memory file, from creation to start.
    pub plan: Option<OwnedFd>,
    /// Cancelled when the container is dead.
    pub exited: CancellationToken,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    Created,
    Starting,
    Running { pid: i32, started_unix_nanos: i64 },
    Exited(Exit),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    pub started_unix_nanos: i64,
    pub finished_unix_nanos: i64,
    pub code: i32,
    pub signal: i32,
    pub reason: &'static str,
    pub message: String,
}

/// containerd's code and reason for a container that could not be started.
const START_ERROR_CODE: i32 = 128;
const START_ERROR: &str = "StartError";
/// containerd's code and reason for a container whose end nobody saw.
const UNKNOWN_CODE: i32 = 255;
const UNKNOWN: &str = "Unknown";

impl Exit {
    pub fn of(record: &ExitRecord, started_unix_nanos: i64) -> Self {
        let reason = match record {
            ExitRecord { oom_killed: true, .. } => "OOMKilled",
            ExitRecord { code: 0, .. } => "Completed",
            _ => "Error",
        };
        Self {
            started_unix_nanos,
            finished_unix_nanos: record.unix_nanos,
            code: record.code,
            signal: record.signal,
            reason,
            message: String::new(),
        }
    }

    pub fn start_error(message: String, unix_nanos: i64) -> Self {
        Self {
            started_unix_nanos: 0,
            finished_unix_nanos: unix_nanos,
            code: START_ERROR_CODE,
            signal: 0,
            reason: START_ERROR,
            message,
        }
    }

    pub fn unknown(started_unix_nanos: i64, unix_nanos: i64) -> Self {
        Self {
            started_unix_nanos,
            finished_unix_nanos: unix_nanos,
            code: UNKNOWN_CODE,
            signal: 0,
            reason: UNKNOWN,
            message: String::new(),
        }
    }
}

impl SandboxEntry {
    pub fn new(record: SandboxRecord, shim: Option<Arc<ShimClient>>) -> Self {
        let gone = CancellationToken::new();
        if shim.is_none() {
            gone.cancel();
        }
        Self { record: Arc::new(record), shim, gone }
    }

    pub fn render(&self, id: &str, netns: &Path) -> Sandbox {
        let config = &self.record.config;
        Sandbox {
            id: id.to_owned(),
            pod_uid: config.pod_uid.clone(),
            pod_name: config.pod_name.clone(),
            pod_namespace: config.pod_namespace.clone(),
            attempt: config.attempt,
            ready: self.shim.is_some(),
            created_unix_nanos: self.record.created_unix_nanos,
            netns: (!config.host.network).then(|| netns.to_owned()),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
        }
    }
}

impl ContainerEntry {
    pub fn new(record: ContainerRecord, phase: Phase) -> Self {
        let exited = CancellationToken::new();
        if matches!(phase, Phase::Exited(_)) {
            exited.cancel();
        }
        Self { record: Arc::new(record), phase, plan: None, exited }
    }

    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running { .. })
    }

    pub fn render(&self, id: &str) -> Container {
        let config = &self.record.config;
        let mut container = Container {
            id: id.to_owned(),
            sandbox_id: self.record.sandbox_id.clone(),
            name: config.name.clone(),
            attempt: config.attempt,
            image: config.image.clone(),
            image_id: config.image_id.clone(),
            state: ContainerState::Created,
            pid: None,
            created_unix_nanos: self.record.created_unix_nanos,
            started_unix_nanos: 0,
            finished_unix_nanos: 0,
            exit_code: 0,
            signal: 0,
            reason: String::new(),
            message: String::new(),
            log_path: config.log_path.clone(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
        };
        match &self.phase {
            Phase::Created | Phase::Starting => {}
            Phase::Running { pid, started_unix_nanos } => {
                container.state = ContainerState::Running;
                container.pid = Some(*pid);
                container.started_unix_nanos = *started_unix_nanos;
            }
            Phase::Exited(exit) => {
                container.state = ContainerState::Exited;
                container.started_unix_nanos = exit.started_unix_nanos;
                container.finished_unix_nanos = exit.finished_unix_nanos;
                container.exit_code = exit.code;
                container.signal = exit.signal;
                exit.reason.clone_into(&mut container.reason);
                container.message.clone_from(&exit.message);
            }
        }
        container
    }
}
