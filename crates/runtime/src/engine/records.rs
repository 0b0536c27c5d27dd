//! What is written down about sandboxes and containers.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::io_error;
use super::paths::write_atomically;
use crate::protocol::ExitRecord;
use crate::shim::record;
use crate::{ContainerConfig, Result, SandboxConfig};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxRecord {
    pub config: SandboxConfig,
    pub created_unix_nanos: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerRecord {
    pub sandbox_id: String,
    pub config: ContainerConfig,
    pub created_unix_nanos: i64,
    /// The external runtime it is run by.
    #[serde(default)]
    pub oci_runtime: Option<PathBuf>,
}

/// Written by the shim when the program runs.
#[derive(Clone, Debug, Deserialize)]
pub struct StartedRecord {
    pub unix_nanos: i64,
}

/// Why a container could not be started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailedRecord {
    pub message: String,
    pub unix_nanos: i64,
}

const CONFIG: &str = "config";
const FAILED: &str = "failed";

pub fn write_sandbox(path: &Path, sandbox: &SandboxRecord) -> Result<()> {
    write(path, sandbox)
}

pub fn read_sandbox(path: &Path) -> Option<SandboxRecord> {
    read(path)
}

pub fn write_container(dir: &Path, container: &ContainerRecord) -> Result<()> {
    write(&dir.join(CONFIG), container)
}

pub fn read_container(dir: &Path) -> Option<ContainerRecord> {
    read(&dir.join(CONFIG))
}

pub fn read_started(dir: &Path) -> Option<StartedRecord> {
    read(&dir.join(record::STARTED))
}

pub fn read_exit(dir: &Path) -> Option<ExitRecord> {
    read(&dir.join(record::EXIT))
}

pub fn write_exit(dir: &Path, exit: &ExitRecord) -> Result<()> {
    write(&dir.join(record::EXIT), exit)
}

pub fn write_failed(dir: &Path, failed: &FailedRecord) -> Result<()> {
    write(&dir.join(FAILED), failed)
}

pub fn read_failed(dir: &Path) -> Option<FailedRecord> {
    read(&dir.join(FAILED))
}

/// Image layers that containers recorded below `state_dir` stand on, running or not; for the image store's
/// guard, also in a process that has no runtime.
pub fn layers_in_use(state_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(state_dir.join("containers")).into_iter().flatten().filter_map(std::result::Result::ok);
    let records = entries.filter_map(|entry| read_container(&entry.path()));
    let mut layers: Vec<PathBuf> = records.flat_map(|record| record.config.rootfs_layers).collect();
    layers.sort();
    layers.dedup();
    layers
}

fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(value).map_err(|e| io_error(format!("encode {}", path.display()), e.into()))?;
    write_atomically(path, &bytes).map_err(|e| io_error(format!("write {}", path.display()), e))
}

/// `None` when it is absent or, after a power loss, torn: then it never was.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
