//! Who runs here: takes pods in, gives each its worker, and clears away what nobody wants.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use orlop_client::events::EventType;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{NodeView, admit};
use crate::context::Context;
use crate::corev1::{Node, Pod};
use crate::eviction::Pressure;
use crate::pod::kill::KillReason;
use crate::pod::ops::kill::KillContainer;
use crate::pod::ops::release;
use crate::pod::spec::NodePod;
use crate::pod::worker::Worker;
use crate::pods::PodHandle;
use crate::sources::mirror;
use crate::status::phase::Phase;

pub struct Roster {
    pub context: Arc<Context>,
    /// The node's object, for admission; what registration knows until the watch says more.
    node: Mutex<Arc<Node>>,
    pressure: Arc<Pressure>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// Sources that have not told yet what they have.
    pending_sources: AtomicUsize,
    sources_ready: Notify,
}

impl Roster {
    pub fn new(
        context: Arc<Context>,
        node: Arc<Node>,
        pressure: Arc<Pressure>,
        sources: usize,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            context,
            node: Mutex::new(node),
            pressure,
            tasks: TaskTracker::new(),
            shutdown,
            pending_sources: AtomicUsize::new(sources),
            sources_ready: Notify::new(),
        })
    }

    pub fn get(&self, uid: &str) -> Option<Arc<PodHandle>> {
        self.context.pods.get(uid)
    }

    pub fn set_node(&self, node: Arc<Node>) {
        *self.node.lock().unwrap_or_else(PoisonError::into_inner) = node;
    }

    /// Takes a new pod in, or rejects it; either way it gets a worker, which tells the API.
    pub fn add(self: &Arc<Self>, pod: NodePod) {
        let rejection = if self.needs_admission(&pod) { self.admit(&pod).err() } else { None };
        if let Some(verdict) = &rejection {
            self.context.pod_event(&pod, EventType::Warning, &verdict.reason, verdict.message.clone());
        }
        let (uid, is_static) = (pod.uid().to_owned(), pod.is_static());
        let handle = Arc::new(PodHandle::new(pod, rejection));
        self.context.pods.insert(&uid, handle.clone());
        if is_static {
            self.tasks.spawn(orlop_base::task::boxed(keep_mirror(self.clone(), handle.clone())));
        }
        let worker = Worker::new(self.context.clone(), handle);
        self.tasks.spawn(orlop_base::task::boxed(worker.run(self.shutdown.clone())));
    }

    /// What runs already, has ended, or is going, is past being asked.
    fn needs_admission(&self, pod: &NodePod) -> bool {
        let ended = Phase::parse(pod.api_status().phase.as_deref()).is_some_and(Phase::is_terminal);
        !ended && !pod.is_deleted() && self.context.observed.view(pod.uid()).is_empty()
    }

    fn admit(&self, pod: &NodePod) -> Result<(), crate::status::Verdict> {
        let others = self.context.pods.claimants_beside(pod.uid());
        let others: Vec<&NodePod> = others.iter().map(|other| &**other).collect();
        admit(pod, &others, &self.node_view())
    }

    fn node_view(&self) -> NodeView {
        let node = self.node.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let config = &self.context.config;
        NodeView {
            name: config.node_name.clone(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default(),
            allocatable: self.context.allocatable.clone(),
            allowed_unsafe_sysctls: config.allowed_unsafe_sysctls.clone(),
            memory_pressure: self.pressure.memory(),
            disk_pressure: self.pressure.disk(),
            pid_pressure: self.pressure.pids(),
        }
    }

    /// A source has told all it has.
    pub fn source_is_ready(&self) {
        if self.pending_sources.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.sources_ready.notify_one();
        }
    }

    /// Clears away pods that no source knows, once all sources have spoken.
    pub async fn clear_orphans(self: Arc<Self>) {
        if self.pending_sources.load(Ordering::Acquire) > 0 {
            self.sources_ready.notified().await;
        }
        let on_disk = std::fs::read_dir(self.context.pods_dir()).into_iter().flatten().flatten();
        let mut uids: BTreeSet<String> = on_disk.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        uids.extend(self.context.observed.uids());
        for uid in uids.into_iter().filter(|uid| self.get(uid).is_none()) {
            let context = self.context.clone();
            self.tasks.spawn(orlop_base::task::boxed(async move {
                if let Err(error) = clear(&context, &uid).await {
                    tracing::warn!(pod = uid, error, "clearing away a pod that is gone");
                }
            }));
        }
    }

    /// The API shows a mirror pod, or has lost one.
    pub fn mirror_changed(self: &Arc<Self>, object: &Arc<Pod>, exists: bool) {
        let (namespace, name) = (object.metadata.namespace.as_deref(), object.metadata.name.as_deref());
        let shown = self.context.pods.all().into_iter().find(|handle| {
            let pod = handle.pod();
            pod.is_static() && Some(pod.namespace()) == namespace && Some(pod.name()) == name && !handle.wish().gone
        });
        match shown {
            Some(handle) if exists && mirror::shows(object, &handle.pod()) => handle.set_mirror(Some(object.clone())),
            Some(handle) if !exists => handle.set_mirror(None),
            _ if exists => {
                let (context, object) = (self.context.clone(), object.clone());
                self.tasks.spawn(orlop_base::task::boxed(async move {
                    if let Err(error) = mirror::delete(&context.client, &object).await {
                        tracing::warn!(error = %orlop_base::error::chain(&error), "deleting a mirror pod");
                    }
                }));
            }
            _ => {}
        }
    }

    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Makes the mirror of a static pod whenever there is none, as long as the pod runs.
async fn keep_mirror(roster: Arc<Roster>, handle: Arc<PodHandle>) {
    let retry = std::time::Duration::from_secs(10);
    let mut removed = handle.mirror_changes();
    loop {
        if handle.wish().gone {
            if let Some(mirror) = handle.mirror() {
                let _ = mirror::delete(&roster.context.client, &mirror).await;
            }
            return;
        }
        if handle.mirror().is_none() {
            let node = roster.node.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let pod = handle.pod();
            let mirror = mirror::object(&pod, &node);
            match roster.context.client.api::<Pod>(pod.namespace()).create(&mirror).await {
                Ok(created) => handle.set_mirror(Some(Arc::new(created))),
                Err(error) if error.is_already_exists() => {}
                Err(error) => {
                    tracing::debug!(error = %orlop_base::error::chain(&error), "creating a mirror pod");
                    if roster.shutdown.run_until_cancelled(tokio::time::sleep(retry)).await.is_none() {
                        return;
                    }
                    continue;
                }
            }
        }
        if roster.shutdown.run_until_cancelled(removed.changed()).await.is_none() {
            return;
        }
    }
}

/// Stops and removes a pod of which only the runtime knows.
async fn clear(context: &Arc<Context>, uid: &str) -> Result<(), String> {
    let view = context.observed.view(uid);
    for instance in view.running() {
        let grace = instance.runtime.annotations.get(crate::names::TERMINATION_GRACE).and_then(|g| g.parse().ok());
        let nobody = NodePod::unknown(uid);
        let (id, reason) = (instance.id(), KillReason::Unknown);
        let kill = KillContainer { context, pod: &nobody, id, message: "", reason };
        if let Some(error) = kill.run(Some(grace.unwrap_or(30)), None).await {
            return Err(error.to_string());
        }
    }
    for sandbox in view.sandboxes.iter().filter(|s| s.ready) {
        context.network.detach(&sandbox.id).await.map_err(|e| e.to_string())?;
        context.runtime.stop_sandbox(&sandbox.id).await.map_err(|e| e.to_string())?;
        context.observed.sandbox_stopped(&sandbox.id).await;
    }
    let (mounter, dir) = (context.mounter.clone(), context.pods_dir().join(uid));
    let work = tokio::task::spawn_blocking(move || crate::volumes::tear_down(&*mounter, &dir));
    work.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    let log_dir = view.sandboxes.first().map(|s| {
        let name = format!("{}_{}_{}", s.pod_namespace, s.pod_name, s.pod_uid);
        context.config.dirs.pod_logs.join(name)
    });
    release::purge(context, uid, log_dir.as_deref()).await?;
    for class in crate::resources::qos::QosClass::ALL {
        let path = crate::resources::cgroup::pod_cgroup(class, uid);
        context.runtime.remove_cgroup(&path).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}
