//! The server's shared state.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Response;
use orlop_api::status::StatusError;
use orlop_client::transport::{Body, UserInfo};
use orlop_store::{Durability, Store, StoreError};
use tokio_util::task::TaskTracker;

use crate::admission::{self, Measured, Plugin};
use crate::aggregation::Aggregation;
use crate::audit::Audit;
use crate::auth::{Authenticator, Authorizer};
use crate::bootstrap::{Peers, default_range};
use crate::custom::Definitions;
use crate::discovery::Documents;
use crate::events::Recent;
use crate::extend::{self, Extension, Extensions};
use crate::features::Features;
use crate::flow::Flow;
use crate::health::{Check, Health};
use crate::metrics::Metrics;
use crate::pipeline::inflight::Inflight;
use crate::pki::Leaf;
use crate::resource::{Resource, Resources};
use crate::services::{Allocators, ServiceConfig};
use crate::trace::Tracer;
use crate::transport::Component;

/// Answers paths that are no resources (`/openid/v1/jwks`); `None` for those it does not know.
pub type PathHandler = Arc<dyn Fn(&http::request::Parts) -> Option<Response<Body>> + Send + Sync>;

/// What a server is made of.
pub struct ServerConfig {
    pub store: Store,
    /// Asked in order; the first that knows the caller wins.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    pub authorizer: Arc<dyn Authorizer>,
    /// Added to the built-in ones.
    pub extensions: Vec<Extension>,
    /// Besides the built-in ones or instead of those of the same name, sorted into upstream's order by name.
    pub admission: Vec<Arc<dyn Plugin>>,
    /// Names of plugins that do not run.
    pub disabled_admission: BTreeSet<String>,
    /// Asked for GETs of paths that are no resources, before the built-in ones.
    pub paths: Vec<PathHandler>,
    /// Added to the built-in ones.
    pub health_checks: Vec<Check>,
    /// The command line, defaults among it, for `/flagz`.
    pub flags: BTreeMap<String, String>,
    /// Records requests; none: nothing is recorded.
    pub audit: Option<Arc<Audit>>,
    /// Traces requests; none: nothing is traced.
    pub tracer: Option<Arc<Tracer>>,
    /// Shown to extension API servers, to which it vouches for the callers that are named to them.
    pub front_proxy: Option<Arc<Leaf>>,
    /// Where the cluster reaches this server: the endpoint of the `kubernetes` Service.
    pub advertise_address: IpAddr,
    pub secure_port: u16,
    pub services: ServiceConfig,
    pub limits: Limits,
    pub features: Features,
}

/// How much is served at once, and for how long.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests that are not long-running must finish within this.
    pub request_timeout: Duration,
    /// Watches that name no time end after once to twice as many seconds.
    pub min_watch_seconds: u64,
    /// Reads and writes served at once, besides long-running ones.
    pub reads: usize,
    pub writes: usize,
    /// Priority and fairness divide the sum of both; else each is a limit of its own, and more get 429.
    pub fair: bool,
    /// Share of requests after which an HTTP/2 connection is given up.
    pub goaway_chance: f64,
}

impl Default for Limits {
    /// Upstream's.
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_mins(1),
            min_watch_seconds: 1800,
            reads: 400,
            writes: 200,
            fair: true,
            goaway_chance: 0.0,
        }
    }
}

impl ServerConfig {
    /// Upstream's defaults, nobody authenticated.
    pub fn new(store: Store, authorizer: Arc<dyn Authorizer>) -> Self {
        Self {
            store,
            authenticators: Vec::new(),
            authorizer,
            extensions: Vec::new(),
            admission: Vec::new(),
            disabled_admission: BTreeSet::new(),
            paths: Vec::new(),
            health_checks: Vec::new(),
            flags: BTreeMap::new(),
            audit: None,
            tracer: None,
            front_proxy: None,
            advertise_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure_port: 6443,
            services: ServiceConfig::default(),
            limits: Limits::default(),
            features: Features::default(),
        }
    }
}

pub struct Server {
    pub(crate) store: Store,
    pub(crate) authenticators: Vec<Arc<dyn Authenticator>>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) resources: ArcSwap<Resources>,
    pub(crate) extensions: Extensions,
    pub(crate) admission: Vec<Measured>,
    pub(crate) paths: Vec<PathHandler>,
    pub(crate) audit: Option<Arc<Audit>>,
    pub(crate) tracer: Option<Arc<Tracer>>,
    pub(crate) documents: Documents,
    pub(crate) health: Health,
    pub(crate) flags: BTreeMap<String, String>,
    pub(crate) metrics: Metrics,
    pub(crate) recent_events: Recent,
    pub(crate) definitions: Definitions,
    pub(crate) aggregation: Aggregation,
    pub(crate) front_proxy: Option<Arc<Leaf>>,
    pub(crate) inflight: Inflight,
    pub(crate) flow: Arc<Flow>,
    /// Requests that are not long-running.
    pub(crate) under_way: TaskTracker,
    pub(crate) limits: Limits,
    pub(crate) features: Features,
    pub(crate) allocators: Arc<Allocators>,
    pub(crate) default_range: default_range::Told,
    pub(crate) peers: Peers,
    pub(crate) advertise_address: IpAddr,
    pub(crate) secure_port: u16,
}

/// Kinds whose writes may be acknowledged before they are flushed: they come in great numbers and
/// are worth little after a crash.
const RELAXED: [&str; 2] = ["coordination.k8s.io/leases", "events"];

impl Server {
    /// Must be called within a tokio runtime. Serves at once; [`Server::bootstrap`] makes the objects
    /// every cluster has.
    pub fn new(config: ServerConfig) -> Arc<Self> {
        let allocators = Arc::new(Allocators::new(config.services));
        let snapshot = config.store.snapshot();
        allocators.repair(&snapshot);
        let extensions = extend::builtin(&allocators).into_iter().chain(config.extensions);
        let given = &config.admission;
        let builtin =
            admission::builtin().into_iter().filter(|own| given.iter().all(|given| given.name() != own.name()));
        let builtin: Vec<_> = builtin.collect();
        let plugins = builtin.into_iter().chain(config.admission);
        let plugins = plugins.filter(|plugin| !config.disabled_admission.contains(plugin.name())).collect();
        let server = Arc::new(Self {
            peers: Peers::new(&config.store, config.advertise_address),
            health: Health::new(config.health_checks),
            flags: config.flags,
            store: config.store,
            authenticators: config.authenticators,
            authorizer: config.authorizer,
            resources: ArcSwap::from_pointee(Resources::builtin()),
            extensions: Extensions::new(extensions),
            admission: admission::ordered(plugins).into_iter().map(Measured::new).collect(),
            paths: config.paths,
            documents: Documents::default(),
            metrics: Metrics::new(config.audit.as_deref(), config.features),
            audit: config.audit,
            tracer: config.tracer,
            recent_events: Recent::default(),
            definitions: Definitions::default(),
            aggregation: Aggregation::default(),
            front_proxy: config.front_proxy,
            inflight: if config.limits.fair {
                Inflight::new(usize::MAX, usize::MAX)
            } else {
                Inflight::new(config.limits.reads, config.limits.writes)
            },
            flow: Flow::new(config.limits.reads + config.limits.writes, &snapshot),
            under_way: TaskTracker::new(),
            limits: config.limits,
            features: config.features,
            allocators,
            default_range: default_range::Told::default(),
            advertise_address: config.advertise_address,
            secure_port: config.secure_port,
        });
        server.load_definitions();
        server
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn authorizer(&self) -> &Arc<dyn Authorizer> {
        &self.authorizer
    }

    /// Lets readiness fail: the end is near, though everything is still served.
    pub fn leave(&self) {
        self.health.leave();
    }

    /// Takes over what FlowSchemas and PriorityLevelConfigurations say; [`Server::maintain`] does so by itself.
    pub fn reread_flow_control(&self) {
        self.flow.reread(&self.store);
    }

    /// Everything served now.
    pub fn resources(&self) -> Arc<Resources> {
        self.resources.load_full()
    }

    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<Resource> {
        self.resources.load().find(group, version, plural).cloned()
    }

    /// A component's way in: the same pipeline, without a network and as `user`.
    pub fn component(self: &Arc<Self>, user: UserInfo) -> Component {
        Component::new(self.clone(), user)
    }

    pub(crate) fn durability(resource: &Resource) -> Durability {
        if RELAXED.contains(&resource.storage_key()) { Durability::Relaxed } else { Durability::Flushed }
    }
}

/// A store failure that no caller can do anything about.
pub(crate) fn store_failed(error: StoreError) -> StatusError {
    match error {
        StoreError::Closed => StatusError::unavailable("the server is shutting down"),
        other => StatusError::internal(other),
    }
}

/// When this process started serving, for metrics.
pub(crate) fn started() -> i64 {
    static START: OnceLock<i64> = OnceLock::new();
    *START.get_or_init(orlop_base::clock::unix_seconds)
}
