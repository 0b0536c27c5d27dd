//! Taking over what an earlier agent left running.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::records::{self, ContainerRecord};
use super::shim::list;
use super::state::{ContainerEntry, Exit, Phase, SandboxEntry};
use super::{Inner, blocking, io_error};
use crate::Result;
use crate::protocol::{ExitRecord, Listed};

impl Inner {
    pub async fn adopt(self: &Arc<Self>) -> Result<()> {
        let inner = self.clone();
        let (sandboxes, containers) = blocking(move || {
            inner.paths.empty_trash().map_err(|e| io_error("empty the trash", e))?;
            Ok((inner.read_sandboxes()?, inner.read_containers()?))
        })
        .await?;
        let mut listed: BTreeMap<String, Listed> = BTreeMap::new();
        for (id, record) in sandboxes {
            let shim = self.reconnect(&id).await;
            if let Some(client) = &shim {
                listed.extend(list(client).await.into_iter().map(|l| (l.id.clone(), l)));
            }
            let gone = shim.is_none();
            self.state().sandboxes.insert(id.clone(), SandboxEntry::new(record, shim));
            if gone {
                let inner = self.clone();
                let cleaned = blocking(move || {
                    inner.paths.remove_sandbox_run(&id).map_err(|e| io_error("remove a dead sandbox's mounts", e))
                });
                cleaned.await?;
            }
        }
        for (id, record) in containers {
            self.adopt_container(id, record, &listed).await?;
        }
        Ok(())
    }

    async fn adopt_container(
        self: &Arc<Self>,
        id: String,
        record: ContainerRecord,
        listed: &BTreeMap<String, Listed>,
    ) -> Result<()> {
        let dir = self.paths.container(&id);
        let phase = phase_of(&dir, listed.get(&id));
        if !self.state().sandboxes.contains_key(&record.sandbox_id) {
            // Its pod was being removed.
            return self.paths.remove_container(&id).map_err(|e| io_error(format!("remove container {id}"), e));
        }
        let dead = matches!(phase, Phase::Exited(_));
        self.state().containers.insert(id.clone(), ContainerEntry::new(record, phase));
        if dead {
            let inner = self.clone();
            let removed = tokio::task::spawn_blocking(move || inner.remove_container_cgroup(&id));
            let _ = removed.await;
        }
        Ok(())
    }

    fn read_sandboxes(&self) -> Result<Vec<(String, records::SandboxRecord)>> {
        let mut found = Vec::new();
        for path in entries(self.paths.sandboxes())? {
            let Some(id) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            match records::read_sandbox(&path) {
                Some(record) => found.push((id.to_owned(), record)),
                // Torn by a power loss, or a temporary file: nothing that ran can be behind it.
                None => drop(fs::remove_file(&path)),
            }
        }
        Ok(found)
    }

    fn read_containers(&self) -> Result<Vec<(String, ContainerRecord)>> {
        let mut found = Vec::new();
        for path in entries(self.paths.containers())? {
            let Some(id) = path.file_name().and_then(|name| name.to_str()) else { continue };
            match records::read_container(&path) {
                Some(record) => found.push((id.to_owned(), record)),
                None => drop(self.paths.remove_container(id)),
            }
        }
        Ok(found)
    }
}

fn entries(dir: PathBuf) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> { fs::read_dir(&dir)?.map(|e| e.map(|e| e.path())).collect() };
    read().map_err(|e| io_error(format!("read {}", dir.display()), e))
}

fn phase_of(dir: &std::path::Path, listed: Option<&Listed>) -> Phase {
    let started = records::read_started(dir).map(|started| started.unix_nanos);
    let ended = |exit: &ExitRecord| Phase::Exited(Exit::of(exit, started.unwrap_or(0)));
    if let Some(exit) = records::read_exit(dir) {
        return ended(&exit);
    }
    if let Some(failed) = records::read_failed(dir) {
        return Phase::Exited(Exit::start_error(failed.message, failed.unix_nanos));
    }
    match (listed, started) {
        (Some(Listed { exit: Some(exit), .. }), _) => ended(exit),
        (Some(Listed { pid, started_unix_nanos, .. }), _) => {
            Phase::Running { pid: *pid, started_unix_nanos: *started_unix_nanos }
        }
        // It ran, and whoever watched it died with it: a reboot, most likely.
        (None, Some(started)) => Phase::Exited(Exit::unknown(started, orlop_base::clock::unix_nanos())),
        (None, None) => Phase::Created,
    }
}
