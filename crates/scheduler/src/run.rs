//! The loop: changes in, decisions out.
//!
//! One task owns the snapshot and the queue. Deciding is synchronous; binding and everything else
//! that waits for the API runs beside it and reports back. A pod is *assumed* on its node from the
//! decision until the API shows it there, or binding it failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orlop_api::pods::{is_finished, node_name};
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{
    Namespace, Node, Pod, PodDisruptionBudget, ReplicaSet, ReplicationController, Service, StatefulSet, StorageClass,
};
use orlop_api::volumes::claim_reference;
use orlop_base::clock;
use orlop_client::cache::{Cache, Delta, Factory, Observer};
use orlop_client::events::{EventType, Recorder, reference};
use orlop_client::{Client, DeleteOptions, Patch};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::binding::{self, VolumeCaches};
use crate::cycle::{Cycle, Listed};
use crate::diagnosis::Diagnosis;
use crate::framework::Wake;
use crate::kin::Families;
use crate::plugins::PLUGINS;
use crate::plugins::volume_binding::{Choice, choose};
use crate::pod::{PodInfo, is_ours_to_schedule};
use crate::preemption::{Budget, Room, make_room};
use crate::queue::Queue;
use crate::schedule::{Decision, schedule};
use crate::snapshot::Snapshot;

/// How long requests under way are waited for at the end: less than from giving up leadership until
/// somebody else may lead (15 s - 10 s).
const DRAIN: Duration = Duration::from_secs(4);

/// The scheduler of one profile, `default-scheduler`.
pub struct Scheduler {
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    budgets: Cache<PodDisruptionBudget>,
    others: Others,
    /// Rings when a claim, a volume or a class changes.
    storage: Arc<Notify>,
    acting: Acting,
    cluster: Snapshot,
    families: Families,
    /// Volumes chosen for a claim, until they show it.
    assumed: BTreeMap<String, String>,
    queue: Queue,
    /// Where the next search for a node begins.
    start: usize,
    rng: fastrand::Rng,
    failures: mpsc::UnboundedReceiver<BindFailed>,
}

/// What else bears on where a pod may run.
struct Others {
    namespaces: Cache<Namespace>,
    volumes: VolumeCaches,
    classes: Cache<StorageClass>,
    services: Cache<Service>,
    replica_sets: Cache<ReplicaSet>,
    replication_controllers: Cache<ReplicationController>,
    stateful_sets: Cache<StatefulSet>,
}

impl Others {
    fn of(factory: &Factory) -> Self {
        Self {
            namespaces: factory.cache(),
            volumes: VolumeCaches { claims: factory.cache(), volumes: factory.cache() },
            classes: factory.cache(),
            services: factory.cache(),
            replica_sets: factory.cache(),
            replication_controllers: factory.cache(),
            stateful_sets: factory.cache(),
        }
    }

    async fn synced(&self) {
        self.namespaces.synced().await;
        self.volumes.claims.synced().await;
        self.volumes.volumes.synced().await;
        self.classes.synced().await;
        self.services.synced().await;
        self.replica_sets.synced().await;
        self.replication_controllers.synced().await;
        self.stateful_sets.synced().await;
    }

    fn listed(&self, assumed: BTreeMap<String, String>) -> Listed {
        Listed {
            namespaces: self.namespaces.snapshot(),
            claims: self.volumes.claims.snapshot(),
            volumes: self.volumes.volumes.snapshot(),
            classes: self.classes.snapshot(),
            services: self.services.snapshot(),
            replica_sets: self.replica_sets.snapshot(),
            replication_controllers: self.replication_controllers.snapshot(),
            stateful_sets: self.stateful_sets.snapshot(),
            assumed,
        }
    }

    /// Rings `bell` at every change of storage.
    fn observe_storage(&self, bell: &Arc<Notify>) -> [Observer; 3] {
        fn ring<K: Typed>(cache: &Cache<K>, bell: &Arc<Notify>) -> Observer {
            let bell = bell.clone();
            cache.observe(move |_| bell.notify_one())
        }
        [ring(&self.volumes.claims, bell), ring(&self.volumes.volumes, bell), ring(&self.classes, bell)]
    }
}

/// What acts on the API, shared with the tasks that wait for it.
#[derive(Clone)]
struct Acting {
    client: Client,
    recorder: Recorder,
    volumes: VolumeCaches,
    tasks: TaskTracker,
    failed: mpsc::UnboundedSender<BindFailed>,
}

struct BindFailed {
    pod: Arc<PodInfo>,
    choices: Vec<Choice>,
    error: String,
}

impl Scheduler {
    /// Reads through `factory`, writes as `client`.
    pub fn new(factory: &Factory, client: Client, recorder: Recorder) -> Self {
        // Bounded by the pods in flight: each sends at most one.
        let (failed, failures) = mpsc::unbounded_channel();
        let others = Others::of(factory);
        let volumes = others.volumes.clone();
        Self {
            pods: factory.cache(),
            nodes: factory.cache(),
            budgets: factory.cache(),
            others,
            storage: Arc::default(),
            acting: Acting { client, recorder, volumes, tasks: TaskTracker::new(), failed },
            cluster: Snapshot::default(),
            families: Families::default(),
            assumed: BTreeMap::new(),
            queue: Queue::default(),
            start: 0,
            rng: orlop_base::id::with_rng(fastrand::Rng::fork),
            failures,
        }
    }

    /// Runs until cancelled, and returns once every binding begun has ended, or [`DRAIN`] later.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let (mut pods, mut nodes) = (self.pods.subscribe(), self.nodes.subscribe());
        let synced = async {
            self.nodes.synced().await;
            self.pods.synced().await;
            self.budgets.synced().await;
            self.others.synced().await;
        };
        tokio::select! { biased; () = shutdown.cancelled() => return, () = synced => {} }
        let storage = self.storage.clone();
        let _observers = self.others.observe_storage(&storage);
        loop {
            // Everything known before anything is decided.
            while let Some(delta) = nodes.try_next() {
                self.node_changed(&delta);
            }
            while let Some(delta) = pods.try_next() {
                self.pod_changed(&delta);
            }
            while let Ok(failure) = self.failures.try_recv() {
                self.bind_failed(&failure);
            }
            if let Some(pod) = self.queue.pop(Instant::now()) {
                self.schedule_one(&pod);
                // Lets caches and bindings move on in a single-threaded runtime.
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.queue.next_due();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                delta = nodes.next() => self.node_changed(&delta),
                delta = pods.next() => self.pod_changed(&delta),
                Some(failure) = self.failures.recv() => self.bind_failed(&failure),
                () = storage.notified() => self.storage_changed(),
                () = async { match due { Some(at) => tokio::time::sleep_until(at).await, None => std::future::pending().await } } => {}
            }
        }
        self.acting.tasks.close();
        // What is late binds a pod that the server will not bind twice.
        let _ = tokio::time::timeout(DRAIN, self.acting.tasks.wait()).await;
    }

    fn node_changed(&mut self, delta: &Delta<Node>) {
        let Some(node) = &delta.new else {
            self.cluster.remove_node(delta.object().name());
            return;
        };
        let is_new = self.cluster.node(node.name()).is_none();
        self.cluster.set_node(node.clone());
        let now = Instant::now();
        if is_new {
            // Pods that were bound to it before it was known here.
            for pod in self.pods.snapshot().iter().filter(|p| node_name(p) == Some(node.name()) && !is_finished(p)) {
                self.cluster.add_pod(node.name(), Arc::new(PodInfo::new(pod.clone(), &mut self.families)));
            }
            self.queue.wake(Wake::NodeAdded, PLUGINS, now);
            return;
        }
        for wake in delta.old.iter().flat_map(|old| node_wakes(old, node)) {
            self.queue.wake(wake, PLUGINS, now);
        }
    }

    fn pod_changed(&mut self, delta: &Delta<Pod>) {
        let (now, pod) = (Instant::now(), delta.object().clone());
        let info = Arc::new(PodInfo::new(pod.clone(), &mut self.families));
        let gone = delta.new.is_none() || is_finished(&pod);
        if gone {
            self.queue.remove(&info.key());
            self.cluster.forget_nomination(&info.uid);
            if self.cluster.remove_pod(&info.uid).is_some() {
                self.queue.wake(Wake::PodRemoved, PLUGINS, now);
            }
            return;
        }
        if let Some(node) = node_name(&pod) {
            self.queue.remove(&info.key());
            self.cluster.forget_nomination(&info.uid);
            let shrank = delta
                .old
                .as_ref()
                .is_some_and(|old| asks_for_less(&info, &PodInfo::new(old.clone(), &mut self.families)));
            let is_news = delta
                .old
                .as_ref()
                .is_none_or(|old| node_name(old).is_none() || old.metadata.labels != pod.metadata.labels);
            self.cluster.add_pod(node, info);
            if shrank {
                self.queue.wake(Wake::PodRemoved, PLUGINS, now);
            }
            if is_news {
                self.queue.wake(Wake::PodAdded, PLUGINS, now);
            }
            return;
        }
        if !is_ours_to_schedule(&pod) {
            self.queue.remove(&info.key());
            return;
        }
        let assumed = self.cluster.node_of(&info.uid).is_some();
        if !assumed {
            let nominated =
                pod.status.as_ref().and_then(|s| s.nominated_node_name.as_deref()).filter(|n| !n.is_empty());
            if let Some(node) = nominated {
                self.cluster.nominate(node, info.clone());
            }
            self.queue.put(info, now);
        }
    }

    fn storage_changed(&mut self) {
        let volumes = self.others.volumes.volumes.snapshot();
        let shows = |name: &str| volumes.get("", name).is_none_or(|volume| claim_reference(volume).is_some());
        self.assumed.retain(|volume, _| !shows(volume));
        self.queue.wake(Wake::StorageChanged, PLUGINS, Instant::now());
    }

    fn schedule_one(&mut self, pod: &Arc<PodInfo>) {
        let listed = self.others.listed(self.assumed.clone());
        let cycle = Cycle::new(pod, &self.cluster, &listed);
        match schedule(&cycle, PLUGINS, &mut self.start, &mut self.rng) {
            Decision::Bind { node } => {
                let choices = self.cluster.node(&node).and_then(|node| choose(&cycle, node).ok()).unwrap_or_default();
                for choice in &choices {
                    if let Choice::Bind { claim, volume } = choice {
                        self.assumed.insert(volume.clone(), format!("{}/{claim}", pod.pod.namespace()));
                    }
                }
                // The queue keeps it as tried, and how often: binding may fail again and again.
                self.cluster.forget_nomination(&pod.uid);
                self.cluster.add_pod(&node, pod.clone());
                self.acting.bind(pod.clone(), node, choices);
            }
            Decision::Unfit(mut diagnosis) => {
                let budgets = self.budgets.snapshot();
                let budgets: Vec<Budget> = budgets.iter().filter_map(|b| Budget::of(b)).collect();
                let room = match make_room(&cycle, &diagnosis, &budgets, PLUGINS) {
                    Ok(room) => Some(room),
                    Err(why) => {
                        diagnosis.preemption = why;
                        None
                    }
                };
                if let Some(room) = &room {
                    self.cluster.nominate(&room.node, pod.clone());
                }
                self.queue.failed(&pod.key(), diagnosis.plugins.clone(), Instant::now());
                self.acting.report_unfit(pod.clone(), &diagnosis, room);
            }
        }
    }

    fn bind_failed(&mut self, failure: &BindFailed) {
        self.cluster.remove_pod(&failure.pod.uid);
        for choice in &failure.choices {
            if let Choice::Bind { volume, .. } = choice {
                self.assumed.remove(volume);
            }
        }
        let (now, pod) = (Instant::now(), &failure.pod.pod);
        self.queue.wake(Wake::PodRemoved, PLUGINS, now);
        // What the cache shows now decides: the pod may be gone, or bound by somebody else.
        let current = self.pods.get(pod.namespace(), pod.name()).filter(|p| p.uid() == pod.uid());
        let Some(current) = current.filter(|p| is_ours_to_schedule(p)) else { return };
        let about = reference(&*current);
        self.acting.recorder.event(&about, EventType::Warning, "FailedScheduling", failure.error.clone());
        self.queue.put(Arc::new(PodInfo::new(current, &mut self.families)), now);
        self.queue.retry(&failure.pod.key(), now);
    }
}

impl Acting {
    fn bind(&self, pod: Arc<PodInfo>, node: String, choices: Vec<Choice>) {
        let this = self.clone();
        self.tasks.spawn(orlop_base::task::boxed(async move {
            let (namespace, name) = (pod.pod.namespace(), pod.pod.name());
            if let Err(error) = binding::bind_volumes(&this.client, &this.volumes, &pod, &node, &choices).await {
                let error = format!("running PreBind plugin \"VolumeBinding\": {error}");
                let _ = this.failed.send(BindFailed { pod, choices, error });
                return;
            }
            let binding = json!({
                "apiVersion": "v1", "kind": "Binding",
                "metadata": {"name": name, "namespace": namespace, "uid": pod.uid},
                "target": {"kind": "Node", "name": node},
            });
            match this.client.api::<Pod>(namespace).post_subresource(name, "binding", &binding).await {
                Ok(_) => {
                    let text = format!("Successfully assigned {namespace}/{name} to {node}");
                    this.recorder.event(&reference(&*pod.pod), EventType::Normal, "Scheduled", text);
                }
                Err(error) => {
                    let error = format!("binding rejected: {}", orlop_base::error::chain(&error));
                    // The receiver is gone only when the scheduler is.
                    let _ = this.failed.send(BindFailed { pod, choices, error });
                }
            }
        }));
    }

    /// Condition, event, and the removal of whoever stands in the way.
    fn report_unfit(&self, pod: Arc<PodInfo>, diagnosis: &Diagnosis, room: Option<Room>) {
        let message = diagnosis.to_string();
        self.recorder.event(&reference(&*pod.pod), EventType::Warning, "FailedScheduling", message.clone());
        let status = unscheduled_status(&pod.pod, &message, room.as_ref());
        let this = self.clone();
        self.tasks.spawn(orlop_base::task::boxed(async move {
            if let Some(status) = status {
                let api = this.client.api::<Pod>(pod.pod.namespace());
                if let Err(error) = api.patch_status(pod.pod.name(), &Patch::Strategic(status)).await {
                    tracing::debug!(
                        pod = pod.key(),
                        error = orlop_base::error::chain(&error),
                        "reporting an unschedulable pod"
                    );
                }
            }
            for victim in room.iter().flat_map(|r| &r.victims) {
                this.evict(victim, &pod, room.as_ref().map_or("", |r| &r.node)).await;
            }
        }));
    }

    async fn evict(&self, victim: &PodInfo, preemptor: &PodInfo, node: &str) {
        let api = self.client.api::<Pod>(victim.pod.namespace());
        let condition = json!({"metadata": {"uid": victim.uid}, "status": {"conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": "default-scheduler: preempting to accommodate a higher priority pod",
            "lastTransitionTime": clock::rfc3339(),
        }]}});
        let done = async {
            api.patch_status(victim.pod.name(), &Patch::Strategic(condition)).await?;
            api.delete(victim.pod.name(), &DeleteOptions { uid: Some(victim.uid.clone()), ..DeleteOptions::default() })
                .await
        };
        match done.await {
            Ok(_) => {
                let text = format!("Preempted by pod {} on node {node}", preemptor.uid);
                self.recorder.event(&reference(&*victim.pod), EventType::Normal, "Preempted", text);
            }
            Err(error) => tracing::debug!(pod = victim.key(), error = orlop_base::error::chain(&error), "preempting"),
        }
    }
}

/// The status patch that says so, or `None` when the pod says it already.
fn unscheduled_status(pod: &Pod, message: &str, room: Option<&Room>) -> Option<Value> {
    let status = pod.status.as_ref();
    let known = status.and_then(|s| s.conditions.as_ref()).into_iter().flatten().find(|c| c.type_ == "PodScheduled");
    let same = known.is_some_and(|c| {
        c.status == "False" && c.reason.as_deref() == Some("Unschedulable") && c.message.as_deref() == Some(message)
    });
    let nominated = status.and_then(|s| s.nominated_node_name.as_deref());
    let nominates = room.filter(|r| nominated != Some(r.node.as_str()));
    if same && nominates.is_none() {
        return None;
    }
    let since = known.filter(|c| c.status == "False").and_then(|c| c.last_transition_time.as_ref());
    let since = since.map_or_else(clock::rfc3339, |t| clock::format_seconds(t.0.as_second()));
    let mut patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        "lastTransitionTime": since,
    }]}});
    if let Some(room) = nominates {
        patch["status"]["nominatedNodeName"] = room.node.clone().into();
    }
    Some(patch)
}

fn node_wakes(old: &Node, new: &Node) -> Vec<Wake> {
    let spec = |n: &Node| n.spec.clone().map(|s| (s.taints, s.unschedulable));
    let allocatable = |n: &Node| n.status.as_ref().and_then(|s| s.allocatable.clone());
    let mut wakes = Vec::new();
    if allocatable(old) != allocatable(new) {
        wakes.push(Wake::NodeAllocatableChanged);
    }
    if old.metadata.labels != new.metadata.labels {
        wakes.push(Wake::NodeLabelsChanged);
    }
    if spec(old) != spec(new) {
        wakes.push(Wake::NodeTaintsChanged);
    }
    wakes
}

fn asks_for_less(new: &PodInfo, old: &PodInfo) -> bool {
    let (new, old) = (&new.request, &old.request);
    new.milli_cpu < old.milli_cpu
        || new.memory_bytes < old.memory_bytes
        || new.ephemeral_storage_bytes < old.ephemeral_storage_bytes
        || old.others.iter().any(|(name, amount)| new.others.get(name).copied().unwrap_or(0) < *amount)
}
