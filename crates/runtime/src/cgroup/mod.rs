//! Control groups: limits, accounting, and the certainty that nothing of a container is left running.
//!
//! Version 1 (every controller its own tree, as on older and hybrid hosts) and version 2 (one tree) stand
//! behind one trait. Paths are relative to this node's own root, so that several nodes can share a machine
//! and a reset removes exactly what is ours.

mod convert;
pub mod devices;
mod files;
mod tree;
mod v1;
mod v2;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::plan::CgroupPlan;
use crate::{Resources, Stats};
use devices::DeviceRule;

/// One version of the kernel's interface.
pub trait Hierarchy: Send + Sync {
    /// Makes the group and its parents; true when it was not there.
    fn create(&self, path: &str) -> io::Result<bool>;
    /// As [`create`](Self::create), and out of reach of a service manager that stops our service.
    fn create_apart(&self, path: &str) -> io::Result<bool> {
        self.create(path)
    }
    /// Sets limits. `fresh` groups have none, so what is `None` need not be written.
    fn apply(&self, path: &str, resources: &Resources, fresh: bool) -> io::Result<()>;
    /// What only a container's own group gets: which devices it may use, and dying as a whole of OOM.
    fn seal(&self, path: &str, devices: &[DeviceRule]) -> io::Result<()>;
    fn stats(&self, path: &str) -> io::Result<Stats>;
    /// Kills what is in it, groups below included, and removes it.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Removes this node's root, and the directories above it that are empty then.
    fn remove_root(&self) -> io::Result<()>;
    fn plan(&self, path: &str) -> CgroupPlan;
    /// As [`plan`](Self::plan) for processes that another runtime has placed: only in trees that have
    /// controllers.
    fn plan_of_others(&self, path: &str) -> CgroupPlan {
        self.plan(path)
    }
    /// How it looks from inside at `/sys/fs/cgroup`.
    fn view(&self, path: &str) -> View;
    /// What a pod may ask for and this host cannot give.
    fn limitations(&self) -> Vec<String>;
}

/// What is bound into a container below `/sys/fs/cgroup`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Name below the mount point (empty: the mount point itself) and the directory to bind there.
    pub binds: Vec<(String, PathBuf)>,
    /// Name and target: `cpu` -> `cpu,cpuacct`.
    pub links: Vec<(String, String)>,
}

/// The host's interface; every path below `root`.
pub fn open(root: &str) -> io::Result<Arc<dyn Hierarchy>> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let root = root.trim_matches('/').to_owned();
    let controllers = v1::mounted(&mounts);
    let unified = v2::mounted(&mounts);
    match (v1::Version1::new(controllers, unified.clone(), root.clone()), unified) {
        (Some(v1), _) => Ok(Arc::new(v1)),
        (None, Some(unified)) => Ok(Arc::new(v2::Version2::new(unified, root)?)),
        (None, None) => Err(io::Error::new(io::ErrorKind::Unsupported, "no cgroup file system is mounted")),
    }
}

#[cfg(test)]
mod tests;
