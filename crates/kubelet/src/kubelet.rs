//! The node agent put together.

use std::sync::Arc;

use orlop_base::clock;
use orlop_client::cache::{Factory, Selection};
use orlop_client::events::Recorder;
use orlop_client::{Client, Resource};
use orlop_image::ImageService;
use orlop_runtime::{ContainerRuntime, PodNetwork};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::KubeletConfig;
use crate::context::Context;
use crate::corev1::{Node, Pod};
use crate::eviction::{self, Pressure};
use crate::images::collector::{self, Uses};
use crate::images::puller::Puller;
use crate::metrics::Metrics;
use crate::node::gauges::{Gauges, SystemGauges};
use crate::node::lease::Heartbeat;
use crate::node::machine::Machine;
use crate::node::object;
use crate::node::reporter::Reporter;
use crate::objects::Objects;
use crate::observed::Observed;
use crate::pods::Wakers;
use crate::resources::cgroup::{KUBEPODS, all_pods};
use crate::roster::Roster;
use crate::server::{Server, listen};
use crate::sources;
use crate::volumes::mounter::{Mounter, SystemMounter};
use crate::volumes::token::Tokens;

/// One node.
pub struct Kubelet {
    config: KubeletConfig,
    client: Client,
    runtime: Arc<dyn ContainerRuntime>,
    images: Arc<dyn ImageService>,
    network: Arc<dyn PodNetwork>,
    mounter: Arc<dyn Mounter>,
    machine: Machine,
    gauges: Arc<dyn Gauges>,
}

impl Kubelet {
    /// `client` speaks as `system:node:<name>`.
    pub fn new(
        config: KubeletConfig,
        client: Client,
        runtime: Arc<dyn ContainerRuntime>,
        images: Arc<dyn ImageService>,
        network: Arc<dyn PodNetwork>,
    ) -> Self {
        let mounter = Arc::new(SystemMounter);
        let machine = Machine::read();
        Self { config, client, runtime, images, network, mounter, machine, gauges: Arc::new(SystemGauges) }
    }

    /// Another machine and other mounts than this one's: for simulations.
    #[must_use]
    pub fn on(mut self, machine: Machine, gauges: Arc<dyn Gauges>, mounter: Arc<dyn Mounter>) -> Self {
        self.machine = machine;
        self.gauges = gauges;
        self.mounter = mounter;
        self
    }

    /// Runs until `shutdown`; pods run on after that, and the next run adopts them.
    pub async fn run(self, shutdown: CancellationToken) {
        let tasks = TaskTracker::new();
        let factory = Factory::new(self.client.clone(), shutdown.clone());
        let storage = self.gauges.file_system(&self.config.dirs.root).map_or(0, |disk| disk.total_bytes);
        let storage = i64::try_from(storage).unwrap_or(i64::MAX);
        let capacity = object::capacity(&self.config, &self.machine, storage);
        let context = self.context(&factory, &capacity, &shutdown);
        let pressure = Arc::new(Pressure::default());
        let reporter = Arc::new(Reporter::new(context.clone(), capacity, pressure.clone()));

        let events = context.runtime.events();
        reporter.set_errors(adopt(&context).await);
        tasks.spawn(orlop_base::task::boxed(context.observed.clone().follow(events, shutdown.clone())));
        let Some(node) = shutdown.run_until_cancelled(reporter.register()).await else { return };
        tracing::info!(node = context.config.node_name, "node registered");

        let roster = Self::sources(&context, &node, &pressure, &factory, &tasks, &shutdown);
        let heartbeat = Heartbeat {
            client: context.client.clone(),
            node_name: context.config.node_name.clone(),
            node_uid: node.metadata.uid.clone().unwrap_or_default(),
            duration_seconds: context.config.lease_duration_seconds,
        };
        tasks.spawn(orlop_base::task::boxed(heartbeat.run(shutdown.clone())));
        let (reporting, stop) = (reporter.clone(), shutdown.clone());
        tasks.spawn(orlop_base::task::boxed(async move { reporting.run(node, stop).await }));

        tasks.spawn(orlop_base::task::boxed(crate::logs::rotate::run(context.clone(), shutdown.clone())));
        tasks.spawn(orlop_base::task::boxed(collector::run(context.clone(), shutdown.clone())));
        tasks.spawn(orlop_base::task::boxed(
            eviction::manager::Manager::new(context.clone(), pressure).run(shutdown.clone()),
        ));
        if context.config.server.enabled {
            let (server, context, stop) = (Arc::new(Server::new(context.clone())), context.clone(), shutdown.clone());
            tasks.spawn(orlop_base::task::boxed(async move {
                if let Err(error) = listen(server, &context.config, stop).await {
                    tracing::error!(address = %context.config.server.address, %error, "serving the node's endpoint");
                }
            }));
        }
        shutdown.cancelled().await;
        roster.ended().await;
        tasks.close();
        tasks.wait().await;
        factory.ended().await;
    }

    fn context(
        self,
        factory: &Factory,
        capacity: &crate::resources::ResourceList,
        shutdown: &CancellationToken,
    ) -> Arc<Context> {
        let Self { config, client, runtime, images, network, mounter, machine, gauges } = self;
        let pods = Arc::new(Wakers::default());
        Arc::new(Context {
            events: Recorder::new(client.clone(), "kubelet", &config.node_name, shutdown.clone()),
            observed: Arc::new(Observed::new(runtime.clone(), network.clone(), pods.clone())),
            objects: Objects::new(&client, factory, &pods, &config.node_name),
            services: factory.cache(),
            tokens: Tokens::default(),
            puller: Puller::default(),
            metrics: Metrics::default(),
            image_uses: Uses::default(),
            pods_limit: object::pods_limit(&config, capacity),
            allocatable: object::allocatable(&config, capacity),
            node_changed: Notify::new(),
            started_nanos: clock::unix_nanos(),
            config,
            client,
            runtime,
            images,
            network,
            mounter,
            pods,
            machine,
            gauges,
        })
    }

    fn sources(
        context: &Arc<Context>,
        node: &Node,
        pressure: &Arc<Pressure>,
        factory: &Factory,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Arc<Roster> {
        let manifests = context.config.pod_manifest_dir.clone();
        let sources = 1 + usize::from(manifests.is_some());
        let node = Arc::new(node.clone());
        let roster = Roster::new(context.clone(), node, pressure.clone(), sources, shutdown.clone());
        let own = |field: &str| Selection::fields(format!("{field}={}", context.config.node_name));
        let nodes = factory.cache_of::<Node>(&Resource::of::<Node>(), &own("metadata.name"));
        let pods = factory.cache_of::<Pod>(&Resource::of::<Pod>(), &own("spec.nodeName"));
        tasks.spawn(orlop_base::task::boxed(sources::api::follow(roster.clone(), pods, shutdown.clone())));
        if let Some(dir) = manifests {
            let (roster, name, stop) = (roster.clone(), context.config.node_name.clone(), shutdown.clone());
            tasks
                .spawn(orlop_base::task::boxed(async move { sources::files::follow(roster, &dir, &name, stop).await }));
        }
        let (orphans, stop) = (roster.clone(), shutdown.clone());
        tasks.spawn(orlop_base::task::boxed(async move {
            stop.run_until_cancelled(orphans.clear_orphans()).await;
        }));
        let (following, stop) = (roster.clone(), shutdown.clone());
        tasks.spawn(orlop_base::task::boxed(async move {
            let mut changes = nodes.subscribe();
            while let Some(delta) = stop.run_until_cancelled(changes.next()).await {
                if let Some(node) = delta.new {
                    following.set_node(node);
                }
            }
        }));
        roster
    }
}

/// Finds out what runs, and keeps its network; returns why the node is not ready, if so.
async fn adopt(context: &Context) -> Vec<String> {
    let mut errors = Vec::new();
    if let Err(error) = context.runtime.ensure_cgroup(KUBEPODS, &all_pods(&context.pods_limit)).await {
        errors.push(format!("Failed to start ContainerManager: {error}"));
    }
    let live: Vec<String> = match context.runtime.sandboxes().await {
        Ok(sandboxes) => sandboxes.into_iter().filter(|s| s.ready).map(|s| s.id).collect(),
        Err(error) => {
            errors.push(format!("container runtime is down: {error}"));
            Vec::new()
        }
    };
    if errors.is_empty()
        && let Err(error) = context.network.adopt(&live).await
    {
        errors.push(format!("container runtime network not ready: {error}"));
    }
    if let Err(error) = context.observed.read_all().await {
        tracing::error!(%error, "listing what runs");
    }
    errors
}
