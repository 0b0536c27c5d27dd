//! Pods: a shim each, and the namespaces it holds.

use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Weak};

use tokio::process::Command;

use super::records::{self, SandboxRecord};
use super::shim::{self, Listener, ShimClient, list};
use super::state::{Exit, Phase, SandboxEntry};
use super::{Inner, blocking, io_error, not_found};
use crate::protocol::{self, ExitRecord, Listed, Reply, Request};
use crate::spec::{self, Keep};
use crate::{Result, RuntimeError, RuntimeEvent, Sandbox, SandboxConfig};

/// Cgroup of the shims, beside those of the pods: what they use is the node's own.
const SHIMS_CGROUP: &str = "shims";

impl Inner {
    pub async fn run_sandbox(self: &Arc<Self>, config: &SandboxConfig) -> Result<Sandbox> {
        let id = new_id();
        let created_unix_nanos = orlop_base::clock::unix_nanos();
        let record = SandboxRecord { config: config.clone(), created_unix_nanos };
        let result = self.begin_sandbox(&id, &record).await;
        let client = match result {
            Ok(client) => client,
            Err(error) => {
                self.clear_sandbox(&id).await;
                return Err(error);
            }
        };
        let entry = SandboxEntry::new(record, Some(client));
        let sandbox = entry.render(&id, &self.paths.netns(&id));
        self.state().sandboxes.insert(id, entry);
        Ok(sandbox)
    }

    async fn begin_sandbox(self: &Arc<Self>, id: &str, record: &SandboxRecord) -> Result<Arc<ShimClient>> {
        let (inner, owned_id, owned_record) = (self.clone(), id.to_owned(), record.clone());
        let (listener, plan) = blocking(move || inner.prepare_sandbox(&owned_id, &owned_record)).await?;
        let (ours, theirs) = shim::pair().map_err(|e| io_error("make socket pair", e))?;
        self.spawn_shim(&record.config, listener, theirs)?;
        let client = self.listen_to(id, ours)?;
        match client.request(&Request::Begin, &[plan]).await? {
            (Reply::Failed { text }, _) => Err(RuntimeError::Start(format!("failed to create sandbox: {text}"))),
            _ => Ok(client),
        }
    }

    fn prepare_sandbox(&self, id: &str, record: &SandboxRecord) -> Result<(OwnedFd, OwnedFd)> {
        let io = |doing: &'static str| move |e| io_error(doing, e);
        records::write_sandbox(&self.paths.sandbox_record(id), record)?;
        self.paths.make_sandbox_run(id).map_err(io("make the sandbox's run directory"))?;
        let listener = shim::listen(&self.paths.sandbox_run(id)).map_err(io("listen for the shim"))?;
        self.cgroups.create_apart(SHIMS_CGROUP).map_err(io("create the shims' cgroup"))?;
        let cgroup = self.cgroups.plan(SHIMS_CGROUP);
        let keep = Keep { netns: self.paths.netns(id), pidns: self.paths.pidns(id), shm: self.paths.shm(id) };
        let plan = spec::sandbox(&record.config, id, &keep, cgroup)?;
        let plan = protocol::write_plan(&plan).map_err(io("write the sandbox's plan"))?;
        Ok((listener, plan))
    }

    fn spawn_shim(&self, config: &SandboxConfig, listener: OwnedFd, connection: OwnedFd) -> Result<()> {
        let mut command = Command::new(&self.shim.program);
        command.args(&self.shim.args);
        // For whoever reads the process list.
        command.arg(format!("{}/{}", config.pod_namespace, config.pod_name));
        command.env_clear().stdin(listener).stdout(connection).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| io_error("start the sandbox's shim", e))?;
        // The connection tells of its end; this only buries it.
        orlop_base::task::spawn(async move { child.wait().await });
        Ok(())
    }

    pub fn listen_to(self: &Arc<Self>, id: &str, socket: OwnedFd) -> Result<Arc<ShimClient>> {
        let watcher = Watcher { inner: Arc::downgrade(self), sandbox_id: id.to_owned() };
        ShimClient::new(socket, watcher).map_err(|e| io_error("connect to the sandbox's shim", e))
    }

    pub async fn stop_sandbox(self: &Arc<Self>, id: &str) -> Result<()> {
        let client = match self.state().sandboxes.get(id) {
            Some(entry) => entry.shim.clone(),
            None => return Ok(()),
        };
        if let Some(client) = client {
            // Every exit is told before the answer; an error means that it is gone, which is as good.
            let _ = client.request(&Request::Stop, &[]).await;
        }
        self.sandbox_gone(id).await
    }

    pub async fn remove_sandbox(self: &Arc<Self>, id: &str) -> Result<()> {
        self.stop_sandbox(id).await?;
        let containers: Vec<String> = {
            let state = self.state();
            let of_sandbox = state.containers.iter().filter(|(_, c)| c.record.sandbox_id == id);
            of_sandbox.map(|(id, _)| id.clone()).collect()
        };
        for container in containers {
            self.remove_container(&container).await?;
        }
        self.state().sandboxes.remove(id);
        self.clear_sandbox(id).await;
        Ok(())
    }

    /// Removes what a sandbox has on disk.
    async fn clear_sandbox(self: &Arc<Self>, id: &str) {
        let (inner, owned) = (self.clone(), id.to_owned());
        let cleared = blocking(move || {
            let removed = inner.paths.remove_sandbox_run(&owned);
            let _ = std::fs::remove_file(inner.paths.sandbox_record(&owned));
            removed.map_err(|e| io_error("remove the sandbox's run directory", e))
        });
        if let Err(error) = cleared.await {
            tracing::warn!(sandbox = id, error = orlop_base::error::chain(&error), "could not clear a sandbox");
        }
    }

    /// The shim is no more: nothing of the pod runs, and what it held is let go. Whoever notices first does
    /// it, the others wait.
    pub async fn sandbox_gone(self: &Arc<Self>, id: &str) -> Result<()> {
        let (first, gone) = match self.state().sandboxes.get_mut(id) {
            Some(entry) => (entry.shim.take().is_some(), entry.gone.clone()),
            None => return Ok(()),
        };
        if !first {
            gone.cancelled().await;
            return Ok(());
        }
        let _told = gone.drop_guard();
        let orphans: Vec<String> = {
            let state = self.state();
            let live = state.containers.iter().filter(|(_, c)| c.record.sandbox_id == id && c.is_live());
            live.map(|(id, _)| id.clone()).collect()
        };
        let (inner, owned, lost) = (self.clone(), id.to_owned(), orphans.clone());
        let cleaned = blocking(move || {
            // They were to die with the shim; this makes sure.
            lost.iter().for_each(|container| inner.remove_container_cgroup(container));
            inner.paths.remove_sandbox_run(&owned).map_err(|e| io_error("remove the sandbox's run directory", e))
        });
        let cleaned = cleaned.await;
        for container in orphans {
            let exit = ExitRecord {
                code: 128 + libc::SIGKILL,
                signal: libc::SIGKILL,
                oom_killed: false,
                unix_nanos: orlop_base::clock::unix_nanos(),
            };
            let _ = records::write_exit(&self.paths.container(&container), &exit);
            self.container_exited(&container, &exit);
        }
        let _ = self.events.send(RuntimeEvent::SandboxStopped { sandbox_id: id.to_owned() });
        cleaned
    }

    /// A shim that still listens has only hung up, because too much waited unread; otherwise it is dead: the
    /// kernel closes a dying process's listening socket, its older descriptor, before the connection.
    async fn connection_lost(self: &Arc<Self>, id: &str) -> Result<()> {
        let Some(client) = self.reconnect(id).await else { return self.sandbox_gone(id).await };
        let listed = list(&client).await;
        match self.state().sandboxes.get_mut(id) {
            Some(SandboxEntry { shim: shim @ Some(_), .. }) => *shim = Some(client),
            _ => return Ok(()),
        }
        for Listed { id, exit, .. } in listed {
            if let Some(exit) = exit {
                self.container_exited(&id, &exit);
                let inner = self.clone();
                tokio::task::spawn_blocking(move || inner.remove_container_cgroup(&id));
            }
        }
        Ok(())
    }

    /// The shim of a sandbox, if it still answers.
    pub async fn reconnect(self: &Arc<Self>, id: &str) -> Option<Arc<ShimClient>> {
        let socket = shim::connect(&self.paths.sandbox_run(id)).ok()?;
        self.listen_to(id, socket).ok()
    }

    /// The shim of a sandbox that is there.
    pub fn shim_of(&self, sandbox_id: &str) -> Result<Arc<ShimClient>> {
        let state = self.state();
        let entry = state.sandboxes.get(sandbox_id).ok_or_else(|| not_found("sandbox", sandbox_id))?;
        entry.shim.clone().ok_or_else(|| RuntimeError::Other(format!("sandbox {sandbox_id} is not running")))
    }

    pub fn sandboxes(&self) -> Vec<Sandbox> {
        let state = self.state();
        state.sandboxes.iter().map(|(id, entry)| entry.render(id, &self.paths.netns(id))).collect()
    }

    /// Writes down an exit, once, and tells.
    pub fn container_exited(self: &Arc<Self>, id: &str, exit: &ExitRecord) {
        let sandbox_id = {
            let mut state = self.state();
            let Some(entry) = state.containers.get_mut(id) else { return };
            let started = match entry.phase {
                Phase::Running { started_unix_nanos, .. } => started_unix_nanos,
                Phase::Exited(_) => return,
                Phase::Created | Phase::Starting => 0,
            };
            entry.phase = Phase::Exited(Exit::of(exit, started));
            entry.plan = None;
            entry.exited.cancel();
            entry.record.sandbox_id.clone()
        };
        let _ = self.events.send(RuntimeEvent::ContainerExited { sandbox_id, container_id: id.to_owned() });
    }
}

/// Hears one shim for the runtime, as long as there is one.
struct Watcher {
    inner: Weak<Inner>,
    sandbox_id: String,
}

impl Listener for Watcher {
    fn event(&self, reply: Reply) {
        let Some(inner) = self.inner.upgrade() else { return };
        if let Reply::Exited { container, exit } = reply {
            inner.container_exited(&container, &exit);
            // The group has done its work; its numbers are in the record.
            tokio::task::spawn_blocking(move || inner.remove_container_cgroup(&container));
        }
    }

    fn closed(&self) {
        let Some(inner) = self.inner.upgrade() else { return };
        let id = self.sandbox_id.clone();
        orlop_base::task::spawn(async move {
            if let Err(error) = inner.connection_lost(&id).await {
                tracing::warn!(sandbox = id, error = orlop_base::error::chain(&error), "could not clear a sandbox");
            }
        });
    }
}

/// 64 hexadecimal digits, as every runtime's.
pub fn new_id() -> String {
    orlop_base::id::with_rng(|rng| format!("{:032x}{:032x}", rng.u128(..), rng.u128(..)))
}
