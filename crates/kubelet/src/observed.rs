//! What the runtime has, by pod: read once at start, then kept current by its events and by what
//! this node does itself. Nothing lists in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orlop_runtime::{Container, ContainerRuntime, ContainerState, PodNetwork, RuntimeError, RuntimeEvent, Sandbox};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::logs::termination_message;
use crate::names;
use crate::pod::view::{Instance, PodView};
use crate::pods::Wakers;

pub struct Observed {
    runtime: Arc<dyn ContainerRuntime>,
    network: Arc<dyn PodNetwork>,
    wakers: Arc<Wakers>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pods: BTreeMap<String, Arc<PodView>>,
    /// Sandbox id to pod uid.
    owners: BTreeMap<String, String>,
}

impl Observed {
    pub fn new(runtime: Arc<dyn ContainerRuntime>, network: Arc<dyn PodNetwork>, wakers: Arc<Wakers>) -> Self {
        Self { runtime, network, wakers, state: Mutex::default() }
    }

    pub fn view(&self, uid: &str) -> Arc<PodView> {
        self.lock().pods.get(uid).cloned().unwrap_or_default()
    }

    /// Pods of which anything is left in the runtime.
    pub fn uids(&self) -> BTreeSet<String> {
        self.lock().pods.iter().filter(|(_, view)| !view.is_empty()).map(|(uid, _)| uid.clone()).collect()
    }

    /// Ids and log files of all running containers.
    pub fn running_logs(&self) -> Vec<(String, std::path::PathBuf)> {
        let state = self.lock();
        let running = state.pods.values().flat_map(|view| view.running());
        running.map(|instance| (instance.id().to_owned(), instance.runtime.log_path.clone())).collect()
    }

    /// All pods' views, by uid.
    pub fn all(&self) -> Vec<(String, Arc<PodView>)> {
        self.lock().pods.iter().map(|(uid, view)| (uid.clone(), view.clone())).collect()
    }

    /// A container and its pod, by container id.
    pub fn find(&self, container_id: &str) -> Option<(String, Instance)> {
        let state = self.lock();
        let mut found = state.pods.iter().filter_map(|(uid, v)| Some((uid.clone(), v.by_id(container_id)?.clone())));
        found.next()
    }

    /// Reads everything anew and wakes every pod.
    pub async fn read_all(&self) -> Result<(), RuntimeError> {
        let (sandboxes, containers) = (self.runtime.sandboxes().await?, self.runtime.containers().await?);
        let mut fresh = State::default();
        let mut views: BTreeMap<String, PodView> = BTreeMap::new();
        for sandbox in sandboxes {
            fresh.owners.insert(sandbox.id.clone(), sandbox.pod_uid.clone());
            views.entry(sandbox.pod_uid.clone()).or_default().sandboxes.push(sandbox);
        }
        for container in containers {
            let uid = owner(&fresh.owners, &container);
            let instance = instance(container).await;
            views.entry(uid).or_default().containers.push(instance);
        }
        for (uid, mut view) in views {
            self.put_in_order(&mut view);
            fresh.pods.insert(uid, Arc::new(view));
        }
        *self.lock() = fresh;
        for handle in self.wakers.all() {
            handle.wake();
        }
        Ok(())
    }

    /// Follows the runtime's events until `shutdown`.
    pub async fn follow(self: Arc<Self>, mut events: broadcast::Receiver<RuntimeEvent>, shutdown: CancellationToken) {
        while let Some(event) = shutdown.run_until_cancelled(events.recv()).await {
            match event {
                Ok(RuntimeEvent::ContainerExited { container_id, .. }) => self.read_container(&container_id).await,
                Ok(RuntimeEvent::SandboxStopped { sandbox_id }) => self.sandbox_stopped(&sandbox_id).await,
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    if let Err(error) = self.read_all().await {
                        tracing::error!(%error, "listing containers after missed events");
                    }
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Looks at one container again.
    pub async fn read_container(&self, id: &str) {
        match self.runtime.container(id).await {
            Ok(container) => {
                let instance = instance(container).await;
                let uid = owner(&self.lock().owners, &instance.runtime);
                self.change(&uid, |view| {
                    view.containers.retain(|c| c.id() != id);
                    view.containers.push(instance);
                });
            }
            Err(RuntimeError::NotFound(_)) => self.container_removed(id),
            Err(error) => tracing::warn!(container = id, %error, "reading a container"),
        }
    }

    pub fn container_removed(&self, id: &str) {
        if let Some((uid, _)) = self.find(id) {
            self.change(&uid, |view| view.containers.retain(|c| c.id() != id));
        }
    }

    pub fn sandbox_made(&self, sandbox: Sandbox) {
        let uid = sandbox.pod_uid.clone();
        self.lock().owners.insert(sandbox.id.clone(), uid.clone());
        self.change(&uid, |view| {
            view.sandboxes.retain(|s| s.id != sandbox.id);
            view.sandboxes.push(sandbox);
        });
    }

    /// A sandbox is no longer ready; its containers have ended with it.
    pub async fn sandbox_stopped(&self, id: &str) {
        let Some(uid) = self.lock().owners.get(id).cloned() else { return };
        let running: Vec<String> = {
            let view = self.view(&uid);
            let own = view.running().filter(|c| c.runtime.sandbox_id == id);
            own.map(|c| c.id().to_owned()).collect()
        };
        for container in running {
            self.read_container(&container).await;
        }
        self.change(&uid, |view| {
            for sandbox in view.sandboxes.iter_mut().filter(|s| s.id == id) {
                sandbox.ready = false;
            }
        });
    }

    pub fn sandbox_removed(&self, id: &str) {
        let Some(uid) = self.lock().owners.remove(id) else { return };
        self.change(&uid, |view| {
            view.sandboxes.retain(|s| s.id != id);
            view.containers.retain(|c| c.runtime.sandbox_id != id);
        });
    }

    fn change(&self, uid: &str, change: impl FnOnce(&mut PodView)) {
        let mut state = self.lock();
        let mut view = state.pods.get(uid).map(|v| (**v).clone()).unwrap_or_default();
        change(&mut view);
        self.put_in_order(&mut view);
        if view.is_empty() {
            state.pods.remove(uid);
        } else {
            state.pods.insert(uid.to_owned(), Arc::new(view));
        }
        drop(state);
        self.wakers.wake(uid);
    }

    /// Newest first; addresses of the newest sandbox while it is ready.
    fn put_in_order(&self, view: &mut PodView) {
        view.sandboxes.sort_by_key(|s| std::cmp::Reverse((s.created_unix_nanos, s.attempt)));
        view.containers.sort_by_key(|c| std::cmp::Reverse((c.runtime.created_unix_nanos, c.runtime.attempt)));
        view.ips = view.ready_sandbox().map(|s| self.network.addresses(&s.id)).unwrap_or_default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owner(owners: &BTreeMap<String, String>, container: &Container) -> String {
    let by_sandbox = owners.get(&container.sandbox_id);
    by_sandbox.or_else(|| container.labels.get(names::POD_UID)).cloned().unwrap_or_default()
}

async fn instance(container: Container) -> Instance {
    let fingerprint = container.annotations.get(names::CONTAINER_HASH).cloned().unwrap_or_default();
    let mut message = container.message.clone();
    if container.state == ContainerState::Exited {
        let own = termination_message::read(&container).await;
        if !own.is_empty() && !message.is_empty() {
            message.push_str(": ");
        }
        message.push_str(&own);
    }
    Instance { runtime: container, fingerprint, message }
}
