//! Pods' and containers' groups.

use std::sync::Arc;

use super::{Inner, blocking, io_error, not_found};
use crate::{Resources, Result, Stats};

impl Inner {
    /// Path of a container's group: below its pod's.
    pub fn container_cgroup(&self, id: &str) -> Option<String> {
        let state = self.state();
        let container = state.containers.get(id)?;
        let sandbox = state.sandboxes.get(&container.record.sandbox_id)?;
        Some(format!("{}/{id}", sandbox.record.config.cgroup.trim_matches('/')))
    }

    /// Kills what is left in a container's group and removes it.
    pub fn remove_container_cgroup(&self, id: &str) {
        let Some(path) = self.container_cgroup(id) else { return };
        if let Err(error) = self.cgroups.remove(&path) {
            tracing::warn!(container = id, %error, "could not remove a container's cgroup");
        }
    }

    pub async fn ensure_cgroup(self: &Arc<Self>, path: &str, resources: &Resources) -> Result<()> {
        let (inner, path, resources) = (self.clone(), path.to_owned(), resources.clone());
        blocking(move || {
            let apply = || {
                let fresh = inner.cgroups.create(&path)?;
                inner.cgroups.apply(&path, &resources, fresh)
            };
            apply().map_err(|e| io_error(format!("set up cgroup {path}"), e))
        })
        .await
    }

    pub async fn remove_cgroup(self: &Arc<Self>, path: &str) -> Result<()> {
        let (inner, path) = (self.clone(), path.to_owned());
        blocking(move || inner.cgroups.remove(&path).map_err(|e| io_error(format!("remove cgroup {path}"), e))).await
    }

    pub async fn cgroup_stats(self: &Arc<Self>, path: &str) -> Result<Stats> {
        let (inner, path) = (self.clone(), path.to_owned());
        blocking(move || {
            inner.cgroups.stats(&path).map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => not_found("cgroup", &path),
                _ => io_error(format!("read cgroup {path}"), e),
            })
        })
        .await
    }
}
