//! A node without containers: it says what a kubelet would say, when a kubelet would.
//!
//! It registers itself, renews its Lease, tells that its pods start, run, crash and end, and falls
//! silent when it dies. What it remembers of its pods is lost with a reboot, and kept over a mere
//! restart of its agent.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orlop_api::pods::{is_finished, is_ready};
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::PodStatus;
use orlop_api::typed::kinds::{Lease, Node, Pod};
use orlop_base::{clock, id};
use orlop_client::cache::{Cache, Factory, Selection};
use orlop_client::{Client, DeleteOptions, Error, Patch, Resource};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::network::{Network, Process};
use crate::plane::client;

/// The kubelet's `nodeStatusUpdateFrequency`, and a quarter of its lease duration.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Between tries of what the API refused.
const RETRY: Duration = Duration::from_secs(1);
/// Between rounds, at least.
const PAUSE: Duration = Duration::from_millis(20);
const LEASES: &str = "kube-node-lease";

/// How pods fare here.
#[derive(Clone, Copy, Debug)]
pub struct Temper {
    /// A container takes up to this long to start, and to end.
    pub start_max: Duration,
    pub stop_max: Duration,
    /// Of starts, in thousandths: the container crashes within half a minute.
    pub crashing: u32,
    /// Of starts, in thousandths: the node gives the pod up.
    pub failing: u32,
    /// A pod that is to end by itself runs up to this long.
    pub work_max: Duration,
}

/// One machine, alive or dead.
pub struct SimNode {
    pub name: String,
    index: usize,
    network: Network,
    temper: Temper,
    containers: Arc<Mutex<Containers>>,
    gentle: Arc<AtomicBool>,
    dead: CancellationToken,
}

/// What runs, by pod uid: it outlives the agent.
type Containers = BTreeMap<String, Container>;

#[derive(Clone, Debug)]
struct Container {
    ip: String,
    phase: Phase,
    restarts: i32,
    started: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Starting { until: Instant },
    Running { crash: Option<Instant> },
    BackOff { until: Instant },
    Failed,
    Succeeded,
    Stopping { until: Instant },
}

impl SimNode {
    pub fn new(index: usize, network: &Network, temper: Temper) -> Self {
        let (network, containers, gentle) = (network.clone(), Arc::default(), Arc::default());
        let dead = CancellationToken::new();
        dead.cancel();
        Self { name: format!("node-{index}"), index, network, temper, containers, gentle, dead }
    }

    pub fn is_alive(&self) -> bool {
        !self.dead.is_cancelled()
    }

    /// Starts the agent; containers that still run are adopted.
    pub fn start(&mut self) {
        self.dead = CancellationToken::new();
        let user = format!("system:node:{}", self.name);
        let process = Process { name: self.name.clone(), dead: self.dead.clone() };
        let client = client(&self.network, &user, &["system:nodes"], &process);
        let beat = Heart { client: client.clone(), name: self.name.clone() }.run();
        tokio::spawn(self.dead.clone().run_until_cancelled_owned(beat));
        let factory = Factory::new(client.clone(), self.dead.clone());
        let mine = Selection::fields(format!("spec.nodeName={}", self.name));
        let agent = Agent {
            pods: factory.cache_of(&Resource::of::<Pod>(), &mine),
            client,
            network: self.network.clone(),
            temper: self.temper,
            containers: self.containers.clone(),
            gentle: self.gentle.clone(),
            addresses: self.index,
        };
        tokio::spawn(self.dead.clone().run_until_cancelled_owned(agent.run()));
    }

    /// From now on nothing crashes here any more.
    pub fn be_gentle(&self) {
        self.gentle.store(true, Ordering::Relaxed);
    }

    /// The agent stops at once; with `power`, so does everything it ran.
    pub fn kill(&mut self, power: bool) {
        self.dead.cancel();
        if power {
            self.containers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

/// Keeps the Node and its Lease.
struct Heart {
    client: Client,
    name: String,
}

impl Heart {
    async fn run(self) {
        loop {
            let wait = match self.beat().await {
                Ok(()) => HEARTBEAT,
                Err(error) => {
                    tracing::debug!(node = self.name, error = orlop_base::error::chain(&error), "a heartbeat failed");
                    RETRY
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn beat(&self) -> Result<(), Error> {
        let nodes = self.client.all::<Node>();
        let node = match nodes.get_opt(&self.name).await? {
            Some(node) => node,
            None => nodes.create(&decoded(&self.registration())).await?,
        };
        if !orlop_api::pods::node_is_ready(&node) {
            nodes.patch_status(&self.name, &Patch::Strategic(ready())).await?;
        }
        self.renew().await
    }

    async fn renew(&self) -> Result<(), Error> {
        let leases = self.client.api::<Lease>(LEASES);
        let spec =
            json!({"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": clock::rfc3339_micro()});
        match leases.get_opt(&self.name).await? {
            Some(mut lease) => {
                lease.spec = serde_json::from_value(spec).ok();
                leases.update(&lease).await?;
            }
            None => {
                let metadata = json!({"name": self.name, "namespace": LEASES});
                leases.create(&decoded(&json!({"metadata": metadata, "spec": spec}))).await?;
            }
        }
        Ok(())
    }

    fn registration(&self) -> Value {
        let room = json!({"cpu": "4", "memory": "8Gi", "pods": "30"});
        let mut status = ready()["status"].take();
        status["capacity"] = room.clone();
        status["allocatable"] = room;
        json!({"metadata": {"name": self.name, "labels": {"kubernetes.io/hostname": self.name}}, "status": status})
    }
}

fn ready() -> Value {
    let now = clock::rfc3339();
    let condition = |ty: &str, status: &str, reason: &str| json!({"type": ty, "status": status, "reason": reason, "lastHeartbeatTime": now, "lastTransitionTime": now});
    json!({"status": {"conditions": [
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID"),
        condition("Ready", "True", "KubeletReady"),
    ]}})
}

/// The fixed texts above decode.
fn decoded<K: Typed>(value: &Value) -> K {
    K::decode(value.to_string().as_bytes()).expect("the object is written down right here")
}

/// Runs pods.
struct Agent {
    client: Client,
    pods: Cache<Pod>,
    network: Network,
    temper: Temper,
    containers: Arc<Mutex<Containers>>,
    gentle: Arc<AtomicBool>,
    addresses: usize,
}

impl Agent {
    async fn run(self) {
        let mut changes = self.pods.subscribe();
        self.pods.synced().await;
        loop {
            while changes.try_next().is_some() {}
            let due = self.round().await;
            tokio::select! {
                biased;
                _ = changes.next() => {}
                () = async { match due { Some(at) => tokio::time::sleep_until(at).await, None => std::future::pending().await } } => {}
            }
        }
    }

    /// Brings every pod on, and answers when the next one is due.
    async fn round(&self) -> Option<Instant> {
        let pods = self.pods.snapshot();
        self.forget(|uid| pods.iter().any(|pod| pod.uid() == uid));
        let mut due: Option<Instant> = None;
        for pod in pods.iter().filter(|pod| !is_finished(pod) || pod.metadata.deletion_timestamp.is_some()) {
            let container = self.advance(pod);
            let next = match self.tell(pod, &container).await {
                // What is overdue has been told; until the cache shows it, there is no hurry.
                Ok(()) => container.phase.due().map(|due| due.max(Instant::now() + PAUSE)),
                Err(error) => {
                    tracing::debug!(
                        pod = pod.name(),
                        error = orlop_base::error::chain(&error),
                        "telling of a pod failed"
                    );
                    Some(Instant::now() + RETRY)
                }
            };
            due = due.into_iter().chain(next).min();
        }
        due
    }

    fn forget(&self, is_there: impl Fn(&str) -> bool) {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| is_there(uid));
    }

    /// The pod's container as it is by now.
    fn advance(&self, pod: &Pod) -> Container {
        let mut containers = self.containers.lock().unwrap_or_else(PoisonError::into_inner);
        let container = containers.entry(pod.uid().to_owned()).or_insert_with(|| self.begun());
        let now = Instant::now();
        let stopping = matches!(container.phase, Phase::Stopping { .. });
        if pod.metadata.deletion_timestamp.is_some() && !stopping {
            let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0).max(0) as u64;
            let takes = up_to(self.temper.stop_max).min(Duration::from_secs(grace));
            container.phase = Phase::Stopping { until: now + takes };
        }
        while container.phase.due().is_some_and(|due| due <= now) {
            let Some(next) = self.next_phase(pod, container, now) else { break };
            container.phase = next;
        }
        container.clone()
    }

    fn begun(&self) -> Container {
        let until = Instant::now() + up_to(self.temper.start_max);
        let host = id::with_rng(|rng| rng.u16(1..u16::MAX)).to_be_bytes();
        let ip = format!("10.{}.{}.{}", 128 + self.addresses, host[0], host[1]);
        Container { ip, phase: Phase::Starting { until }, restarts: 0, started: clock::rfc3339() }
    }

    /// `None`: a stopped container is over.
    fn next_phase(&self, pod: &Pod, container: &mut Container, now: Instant) -> Option<Phase> {
        let ends = pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref()) == Some("Never");
        match container.phase {
            Phase::Stopping { .. } | Phase::Failed | Phase::Succeeded => None,
            Phase::Running { .. } if ends => {
                let luck = id::with_rng(|rng| rng.u32(..1000));
                let fails = !self.gentle.load(Ordering::Relaxed) && luck < self.temper.crashing;
                Some(if fails { Phase::Failed } else { Phase::Succeeded })
            }
            Phase::Running { .. } if self.gentle.load(Ordering::Relaxed) => Some(Phase::Running { crash: None }),
            Phase::Running { .. } => {
                self.network.count(|counts| counts.pod_crashes += 1);
                container.restarts += 1;
                Some(Phase::BackOff { until: now + Duration::from_secs(2 << container.restarts.min(4)) })
            }
            Phase::Starting { .. } | Phase::BackOff { .. } => {
                container.started = clock::rfc3339();
                if ends {
                    return Some(Phase::Running { crash: Some(now + up_to(self.temper.work_max)) });
                }
                if self.gentle.load(Ordering::Relaxed) {
                    return Some(Phase::Running { crash: None });
                }
                let luck = id::with_rng(|rng| rng.u32(..1000));
                if luck < self.temper.failing {
                    return Some(Phase::Failed);
                }
                let crashes = luck < self.temper.failing + self.temper.crashing;
                let crash = crashes.then(|| now + up_to(Duration::from_secs(30)));
                Some(Phase::Running { crash })
            }
        }
    }

    /// Tells the API, if it does not know.
    async fn tell(&self, pod: &Pod, container: &Container) -> Result<(), Error> {
        let api = self.client.api::<Pod>(pod.namespace());
        if let Phase::Stopping { until } = container.phase {
            if until > Instant::now() {
                return Ok(());
            }
            let options = DeleteOptions::uid(pod.uid()).grace(0);
            return match api.delete(pod.name(), &options).await {
                Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
                _ => Ok(()),
            };
        }
        if says(pod, container) {
            return Ok(());
        }
        let mut patch = status(container);
        patch["metadata"] = json!({"uid": pod.uid()});
        match api.patch_status(pod.name(), &Patch::Strategic(patch)).await {
            // Gone, or another of the same name: the watch will tell.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            other => other.map(drop),
        }
    }
}

impl Phase {
    fn due(self) -> Option<Instant> {
        match self {
            Self::Starting { until } | Self::BackOff { until } | Self::Stopping { until } => Some(until),
            Self::Running { crash } => crash,
            Self::Failed | Self::Succeeded => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Starting { .. } => "Pending",
            Self::Failed => "Failed",
            Self::Succeeded => "Succeeded",
            _ => "Running",
        }
    }
}

/// Whether the pod's status already says what is so.
fn says(pod: &Pod, container: &Container) -> bool {
    let none = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&none);
    let restarts = status.container_statuses.iter().flatten().map(|c| c.restart_count).next();
    status.phase.as_deref() == Some(container.phase.name())
        && is_ready(pod) == matches!(container.phase, Phase::Running { .. })
        && status.pod_ip.as_deref() == Some(&*container.ip)
        && restarts == Some(container.restarts)
}

fn status(container: &Container) -> Value {
    let running = matches!(container.phase, Phase::Running { .. });
    let (now, truth) = (clock::rfc3339(), if running { "True" } else { "False" });
    let condition = |ty: &str, status: &str| json!({"type": ty, "status": status, "lastTransitionTime": now});
    let state = match container.phase {
        Phase::Running { .. } => json!({"running": {"startedAt": container.started}}),
        Phase::Failed => json!({"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": now}}),
        Phase::Succeeded => json!({"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": now}}),
        Phase::BackOff { .. } => json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        _ => json!({"waiting": {"reason": "ContainerCreating"}}),
    };
    let mut status = json!({
        "phase": container.phase.name(),
        "podIP": container.ip,
        // After a reboot the address is another one: not merged with the old.
        "podIPs": [{"$patch": "replace"}, {"ip": container.ip}],
        "conditions": [condition("Initialized", "True"), condition("Ready", truth), condition("ContainersReady", truth)],
        "containerStatuses": [{
            "name": "app", "ready": running, "restartCount": container.restarts, "image": "app", "imageID": "",
            "state": state,
        }],
    });
    if container.phase == Phase::Failed {
        status["reason"] = "Evicted".into();
    }
    json!({"status": status})
}

fn up_to(max: Duration) -> Duration {
    max.mul_f64(id::with_rng(fastrand::Rng::f64))
}
