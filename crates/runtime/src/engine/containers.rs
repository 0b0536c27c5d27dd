//! A container's life: created on disk, started by the pod's shim, stopped, removed.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orlop_base::disk_usage::disk_usage;

use super::records::{self, ContainerRecord, FailedRecord, SandboxRecord};
use super::sandboxes::new_id;
use super::shim::done;
use super::state::{ContainerEntry, Exit, Phase};
use super::{Inner, blocking, external, io_error, not_found};
use crate::cgroup::View;
use crate::protocol::{self, Reply, Request};
use crate::spec::{self, Places};
use crate::{Container, ContainerConfig, Resources, Result, RuntimeError, RuntimeEvent, Stats};

/// A process that SIGKILL does not end in this time is stuck in the kernel.
const KILL_WAIT: Duration = Duration::from_secs(120);

impl Inner {
    pub async fn create_container(self: &Arc<Self>, sandbox_id: &str, config: &ContainerConfig) -> Result<String> {
        self.shim_of(sandbox_id)?;
        let sandbox = self.sandbox_record(sandbox_id)?;
        let id = new_id();
        let record = ContainerRecord {
            sandbox_id: sandbox_id.to_owned(),
            config: config.clone(),
            created_unix_nanos: orlop_base::clock::unix_nanos(),
            oci_runtime: self.oci_runtime.clone(),
        };
        let (inner, owned_id) = (self.clone(), id.clone());
        let (record, plan) = blocking(move || {
            let prepared = inner.prepare_container(&owned_id, &record, &sandbox);
            match prepared {
                Ok(plan) => Ok((record, plan)),
                Err(error) => {
                    let _ = inner.cgroups.remove(&cgroup_path(&sandbox, &owned_id));
                    let _ = inner.paths.remove_container(&owned_id);
                    Err(error)
                }
            }
        })
        .await?;
        let mut entry = ContainerEntry::new(record, Phase::Created);
        entry.plan = Some(plan);
        self.state().containers.insert(id.clone(), entry);
        Ok(id)
    }

    /// Makes the directories, the cgroup and the plan.
    fn prepare_container(&self, id: &str, record: &ContainerRecord, sandbox: &SandboxRecord) -> Result<OwnedFd> {
        let dir = self.paths.container(id);
        let made = fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .and_then(|()| ["upper", "work", "rootfs"].iter().try_for_each(|sub| fs::create_dir(dir.join(sub))))
            .and_then(|()| match sandbox.config.users {
                // The top of the container's root belongs to its own root.
                Some(users) => chown(dir.join("upper"), Some(users.first), Some(users.first)),
                None => Ok(()),
            });
        made.map_err(|e| io_error(format!("create {}", dir.display()), e))?;
        records::write_container(&dir, record)?;
        self.plan_container(id, record, sandbox)
    }

    fn plan_container(&self, id: &str, record: &ContainerRecord, sandbox: &SandboxRecord) -> Result<OwnedFd> {
        let path = cgroup_path(sandbox, id);
        let resources = &record.config.resources;
        let group = |e| io_error(format!("set up cgroup {path}"), e);
        let fresh = self.cgroups.create(&path).map_err(group)?;
        self.cgroups.apply(&path, resources, fresh).map_err(group)?;
        let shm = if sandbox.config.host.ipc { "/dev/shm".into() } else { self.paths.shm(&record.sandbox_id) };
        let places = Places { dir: self.paths.container(id), shm };
        let (of_group, view) = match record.oci_runtime {
            None => (self.cgroups.plan(&path), self.cgroups.view(&path)),
            // It shows a container its groups in its own way.
            Some(_) => (self.cgroups.plan_of_others(&path), View::default()),
        };
        let (mut plan, devices) = spec::container(id, &record.config, &sandbox.config, &places, of_group, &view)?;
        match (&record.oci_runtime, devices) {
            (Some(program), devices) => self.write_bundle(&mut plan, record, program, devices.as_deref(), &path)?,
            (None, Some(devices)) => self.cgroups.seal(&path, &devices).map_err(group)?,
            (None, None) => {}
        }
        protocol::write_plan(&plan).map_err(|e| io_error("write the container's plan", e))
    }

    pub async fn start_container(self: &Arc<Self>, id: &str) -> Result<()> {
        let (record, plan) = {
            let mut state = self.state();
            let entry = state.containers.get_mut(id).ok_or_else(|| not_found("container", id))?;
            if entry.phase != Phase::Created {
                return Err(RuntimeError::Other(format!("container {id} is not in created state")));
            }
            entry.phase = Phase::Starting;
            (entry.record.clone(), entry.plan.take())
        };
        let result = self.start_planned(id, &record, plan).await;
        if let Err(error) = &result {
            self.start_failed(id, error.to_string()).await;
        }
        result
    }

    async fn start_planned(
        self: &Arc<Self>,
        id: &str,
        record: &Arc<ContainerRecord>,
        plan: Option<OwnedFd>,
    ) -> Result<()> {
        let client = self.shim_of(&record.sandbox_id)?;
        let plan = match plan {
            Some(plan) => plan,
            // Created before this process began.
            None => {
                let (inner, id, record) = (self.clone(), id.to_owned(), record.clone());
                let sandbox = self.sandbox_record(&record.sandbox_id)?;
                blocking(move || inner.plan_container(&id, &record, &sandbox)).await?
            }
        };
        let (inner, started_id) = (Arc::downgrade(self), id.to_owned());
        let first = move |reply: &Reply| {
            if let (Some(inner), Reply::Started { pid, unix_nanos, warnings }) = (inner.upgrade(), reply) {
                inner.container_started(&started_id, *pid, *unix_nanos, warnings);
            }
        };
        match client.request_first(&Request::Start, &[plan], Some(Box::new(first))).await? {
            (Reply::Failed { text }, _) => {
                Err(RuntimeError::Start(format!("failed to start container: {}", external::reason(text))))
            }
            _ => Ok(()),
        }
    }

    fn container_started(&self, id: &str, pid: i32, started_unix_nanos: i64, warnings: &[String]) {
        for warning in warnings {
            tracing::warn!(container = id, "{warning}");
        }
        if let Some(entry) = self.state().containers.get_mut(id) {
            entry.phase = Phase::Running { pid, started_unix_nanos };
        }
    }

    /// A container that could not start is dead, with the reason for all to read.
    async fn start_failed(self: &Arc<Self>, id: &str, message: String) {
        let unix_nanos = orlop_base::clock::unix_nanos();
        let failed = FailedRecord { message: message.clone(), unix_nanos };
        let (inner, owned) = (self.clone(), id.to_owned());
        let _ = blocking(move || {
            inner.remove_container_cgroup(&owned);
            records::write_failed(&inner.paths.container(&owned), &failed)
        })
        .await;
        let sandbox_id = {
            let mut state = self.state();
            let Some(entry) = state.containers.get_mut(id) else { return };
            if matches!(entry.phase, Phase::Exited(_)) {
                return;
            }
            entry.phase = Phase::Exited(Exit::start_error(message, unix_nanos));
            entry.exited.cancel();
            entry.record.sandbox_id.clone()
        };
        let _ = self.events.send(RuntimeEvent::ContainerExited { sandbox_id, container_id: id.to_owned() });
    }

    pub async fn stop_container(self: &Arc<Self>, id: &str, grace_period_seconds: i64) -> Result<()> {
        let (exited, record, live) = match self.state().containers.get(id) {
            Some(entry) => (entry.exited.clone(), entry.record.clone(), entry.is_live()),
            None => return Ok(()),
        };
        let client = match self.shim_of(&record.sandbox_id) {
            Ok(client) if live => client,
            _ => return Ok(()),
        };
        let signal = |signal, all| Request::Signal { container: id.to_owned(), signal, all };
        if let Ok(grace @ 1..) = u64::try_from(grace_period_seconds) {
            let stop = if record.config.stop_signal > 0 { record.config.stop_signal } else { libc::SIGTERM };
            client.request(&signal(stop, false), &[]).await?;
            if tokio::time::timeout(Duration::from_secs(grace), exited.cancelled()).await.is_ok() {
                return Ok(());
            }
        }
        client.request(&signal(libc::SIGKILL, true), &[]).await?;
        tokio::time::timeout(KILL_WAIT, exited.cancelled())
            .await
            .map_err(|_| RuntimeError::Other(format!("container {id} does not die of SIGKILL")))
    }

    pub async fn remove_container(self: &Arc<Self>, id: &str) -> Result<()> {
        self.stop_container(id, 0).await?;
        let Some(record) = self.state().containers.get(id).map(|entry| entry.record.clone()) else { return Ok(()) };
        if let Ok(client) = self.shim_of(&record.sandbox_id) {
            client.tell(&Request::Forget { container: id.to_owned() });
        }
        let (inner, owned) = (self.clone(), id.to_owned());
        blocking(move || {
            inner.remove_container_cgroup(&owned);
            inner.paths.remove_container(&owned).map_err(|e| io_error(format!("remove container {owned}"), e))
        })
        .await?;
        self.state().containers.remove(id);
        Ok(())
    }

    pub fn containers(&self) -> Vec<Container> {
        self.state().containers.iter().map(|(id, entry)| entry.render(id)).collect()
    }

    pub fn container(&self, id: &str) -> Result<Container> {
        let state = self.state();
        state.containers.get(id).map(|entry| entry.render(id)).ok_or_else(|| not_found("container", id))
    }

    pub async fn update_resources(self: &Arc<Self>, id: &str, resources: &Resources) -> Result<()> {
        let path = self.container_cgroup(id).ok_or_else(|| not_found("container", id))?;
        let (inner, owned, resources) = (self.clone(), id.to_owned(), resources.clone());
        blocking(move || {
            inner.cgroups.apply(&path, &resources, false).map_err(|e| io_error(format!("update cgroup {path}"), e))?;
            let record = {
                let mut state = inner.state();
                let entry = state.containers.get_mut(&owned).ok_or_else(|| not_found("container", &owned))?;
                Arc::make_mut(&mut entry.record).config.resources = resources;
                entry.record.clone()
            };
            records::write_container(&inner.paths.container(&owned), &record)
        })
        .await
    }

    pub async fn container_stats(self: &Arc<Self>, id: &str) -> Result<Stats> {
        let path = self.container_cgroup(id).ok_or_else(|| not_found("container", id))?;
        let (inner, upper) = (self.clone(), self.paths.container(id).join("upper"));
        let live = self.state().containers.get(id).is_some_and(ContainerEntry::is_live);
        blocking(move || {
            let none = || Stats { unix_nanos: orlop_base::clock::unix_nanos(), ..Stats::default() };
            let stats = if live { inner.cgroups.stats(&path) } else { Ok(none()) };
            let mut stats = match stats {
                // It died in between.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => none(),
                stats => stats.map_err(|e| io_error(format!("read cgroup {path}"), e))?,
            };
            let written = disk_usage(&upper).unwrap_or_default();
            stats.writable_layer_bytes = written.bytes;
            stats.writable_layer_inodes = written.inodes;
            Ok(stats)
        })
        .await
    }

    pub async fn reopen_log(&self, id: &str) -> Result<()> {
        let record = self.container_record(id)?;
        let request = Request::ReopenLog { container: id.to_owned() };
        done(self.shim_of(&record.sandbox_id)?.request(&request, &[]).await?)
    }

    pub fn container_record(&self, id: &str) -> Result<Arc<ContainerRecord>> {
        let state = self.state();
        state.containers.get(id).map(|entry| entry.record.clone()).ok_or_else(|| not_found("container", id))
    }

    pub fn sandbox_record(&self, id: &str) -> Result<Arc<SandboxRecord>> {
        let state = self.state();
        state.sandboxes.get(id).map(|entry| entry.record.clone()).ok_or_else(|| not_found("sandbox", id))
    }
}

fn cgroup_path(sandbox: &SandboxRecord, id: &str) -> String {
    let pod: PathBuf = sandbox.config.cgroup.trim_matches('/').into();
    pod.join(id).to_string_lossy().into_owned()
}
