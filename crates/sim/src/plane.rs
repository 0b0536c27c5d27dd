//! The control plane's process: born on a disk or over etcd, killed at any moment, born again on what is left.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use orlop_client::Client;
use orlop_client::cache::Factory;
use orlop_client::engine::lease::{Terms, lead};
use orlop_client::events::Recorder;
use orlop_client::transport::UserInfo;
use orlop_controllers::list::{MANAGER, Settings, Signer, TokenSigner, start};
use orlop_scheduler::run::Scheduler;
use orlop_server::authz::{self, Authorization, Escalation, NodeRestriction};
use orlop_server::{Server, ServerConfig};
use orlop_store::disk::{Disk, Faults, SimDisk};
use orlop_store::{Config, EtcdConfig, Limits, OpenError, SimEtcd, Store};
use tokio_util::sync::CancellationToken;

use crate::network::{Network, Process};
use crate::violation::Violation;

/// Small, so that even a short run fills and cleans several segments.
const SEGMENT_BYTES: u64 = 256 << 10;

/// Which backend a run's objects are kept by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Embedded,
    Etcd,
}

/// What a process leaves behind.
#[derive(Clone)]
pub enum Place {
    Disk(SimDisk),
    Etcd(SimEtcd),
}

/// How often at most etcd may be found without a leader by a process that starts: longer than any election here.
const STARTS: u32 = 3;

/// Store and API server of one process.
pub struct Plane {
    pub place: Place,
    pub store: Store,
    pub server: Arc<Server>,
}

impl Plane {
    /// Opens what is there and serves it.
    pub async fn start(place: Place, flush_delay: Duration, network: &Network) -> Result<Self, Violation> {
        if let Place::Disk(disk) = &place {
            disk.set_faults(Faults { flush_delay, ..Faults::default() });
        }
        let store = open(&place).await?;
        let server = Server::new(secured(&store));
        let down = CancellationToken::new();
        network.serve(server.clone(), down.clone());
        tokio::spawn(server.clone().maintain(down));
        Ok(Self { place, store, server })
    }

    /// Pulls the plug; the answer is what survives.
    pub fn kill(&self, network: &Network, seed: u64) -> Place {
        network.unplug();
        match &self.place {
            Place::Disk(disk) => Place::Disk(disk.crash(seed)),
            Place::Etcd(etcd) => Place::Etcd(etcd.kill()),
        }
    }
}

/// What every cluster has: built once for each backend, a fork for each run.
///
/// The default policy alone is some two hundred objects; making them again for each of a thousand
/// seeds would take longer than all the rest.
pub fn fresh(backend: Backend, seed: u64) -> Result<Place, Violation> {
    static IMAGES: [OnceLock<Result<Place, Violation>>; 2] = [OnceLock::new(), OnceLock::new()];
    let build = || std::thread::spawn(move || build_image(backend)).join().unwrap_or_else(|_| failed(&"a panic"));
    match IMAGES[backend as usize].get_or_init(build).clone()? {
        Place::Disk(disk) => Ok(Place::Disk(disk.fork())),
        Place::Etcd(etcd) => Ok(Place::Etcd(etcd.fork(seed))),
    }
}

fn failed<T>(error: &dyn std::fmt::Display) -> Result<T, Violation> {
    Err(Violation::Setup(error.to_string()))
}

/// On a thread, and so with a clock and a generator, of its own.
fn build_image(backend: Backend) -> Result<Place, Violation> {
    // No run has this seed: two objects of one uid would be taken for one.
    orlop_base::id::seed_thread(u64::MAX);
    let runtime = runtime()?;
    runtime.block_on(async {
        orlop_base::clock::use_virtual_time();
        let place = match backend {
            Backend::Embedded => Place::Disk(SimDisk::new()),
            Backend::Etcd => Place::Etcd(SimEtcd::new(u64::MAX)),
        };
        let store = open(&place).await?;
        let server = Server::new(secured(&store));
        server.bootstrap().await.or_else(|error| failed(&error))?;
        let master =
            Client::new(server.component(user("system:apiserver", &[authz::MASTERS])), "kube-apiserver/v1.37.0");
        authz::bootstrap::ensure(&master).await.or_else(|error| failed(&error))?;
        store.close().await.or_else(|error| failed(&error))?;
        Ok(place)
    })
}

/// One thread, its clock stopped whenever there is something to do.
pub fn runtime() -> Result<tokio::runtime::Runtime, Violation> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .or_else(|error| failed(&error))
}

async fn open(place: &Place) -> Result<Store, Violation> {
    let opened = match place {
        Place::Disk(disk) => {
            let disk: Arc<dyn Disk> = Arc::new(disk.clone());
            let limits = Limits { segment_bytes: SEGMENT_BYTES, ..Limits::default() };
            Store::open(Config::on(disk).with_limits(limits)).await
        }
        Place::Etcd(etcd) => start_over(etcd).await,
    };
    opened.map_err(|error| Violation::Open(error.to_string()))
}

/// A process that finds no leader ends, and is started again by whoever looks after it.
async fn start_over(etcd: &SimEtcd) -> Result<Store, OpenError> {
    let mut opened = Store::in_sim_etcd(etcd, etcd_config()).await;
    for _ in 1..STARTS {
        if opened.is_ok() {
            break;
        }
        opened = Store::in_sim_etcd(etcd, etcd_config()).await;
    }
    opened
}

fn etcd_config() -> EtcdConfig {
    EtcdConfig {
        servers: ["one", "two", "three"].map(str::to_owned).into(),
        tls: None,
        prefix: "/registry".to_owned(),
        builtin: orlop_api::kinds::all().iter().map(|kind| kind.info().storage_key.to_string()).collect(),
        transformer: None,
        compaction_interval: Duration::ZERO,
    }
}

/// With the real authorization; callers are who their line says, so keys and tokens are not needed.
fn secured(store: &Store) -> ServerConfig {
    let authorization = Authorization::new(store);
    let mut config = ServerConfig::new(store.clone(), Arc::new(authorization.clone()));
    config.admission.push(Arc::new(NodeRestriction::new(store, &authorization)));
    config.admission.push(Arc::new(Escalation(authorization)));
    config
}

/// Controllers and scheduler, apart from the server: they may outlive it, or die alone.
pub struct Managers {
    pub identity: String,
    dead: CancellationToken,
    shutdown: CancellationToken,
}

impl Managers {
    pub fn start(network: &Network, identity: &str) -> Self {
        let managers =
            Self { identity: identity.to_owned(), dead: CancellationToken::new(), shutdown: CancellationToken::new() };
        let connect = {
            let process = Process { name: identity.to_owned(), dead: managers.dead.clone() };
            let network = network.clone();
            move |name: &str| client(&network, name, &[], &process)
        };
        let stop = managers.shutdown.clone();
        tokio::spawn(control(connect.clone(), identity.to_owned(), stop.clone()));
        tokio::spawn(schedule(connect("system:kube-scheduler"), identity.to_owned(), stop));
        managers
    }

    pub fn is_dead(&self) -> bool {
        self.dead.is_cancelled()
    }

    /// Like `kill -9`: whatever they were doing, nobody hears of them again.
    pub fn kill(&self) {
        self.dead.cancel();
        self.shutdown.cancel();
    }
}

async fn control(connect: impl Fn(&str) -> Client + Clone, identity: String, shutdown: CancellationToken) {
    let manager = connect("system:kube-controller-manager");
    let terms = Terms::new("kube-controller-manager", identity);
    let signer = Signer::new(|_, _, _| Err("nobody signs in a simulation".to_owned()));
    let root_ca = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let token_signer = Some(TokenSigner::new(|_| "signed by nobody".to_owned()));
    let settings = Settings { root_ca, signer, token_signer };
    lead(manager.clone(), terms, shutdown, |leading| {
        let reader = Factory::new(manager.clone(), leading.clone());
        let account = |name: &str| match name {
            MANAGER => manager.clone(),
            _ => connect(&format!("system:serviceaccount:kube-system:{name}")),
        };
        let running = start(&settings, &reader, account, &leading);
        async move {
            leading.cancelled().await;
            for controller in running {
                controller.ended().await;
            }
            reader.ended().await;
        }
    })
    .await;
}

async fn schedule(client: Client, identity: String, shutdown: CancellationToken) {
    let terms = Terms::new("kube-scheduler", identity);
    lead(client.clone(), terms, shutdown, |leading| {
        let factory = Factory::new(client.clone(), leading.clone());
        let recorder = Recorder::new(client.clone(), "default-scheduler", "", leading.clone());
        let scheduler = Scheduler::new(&factory, client.clone(), recorder);
        async move {
            scheduler.run(leading).await;
            factory.ended().await;
        }
    })
    .await;
}

pub fn user(name: &str, groups: &[&str]) -> UserInfo {
    let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    if name.starts_with("system:serviceaccount:") {
        groups.extend(["system:serviceaccounts".to_owned(), "system:serviceaccounts:kube-system".to_owned()]);
    }
    groups.push("system:authenticated".to_owned());
    UserInfo { name: name.to_owned(), groups, ..UserInfo::default() }
}

/// A client of one component of `process`.
pub fn client(network: &Network, name: &str, groups: &[&str], process: &Process) -> Client {
    let agent = name.rsplit(':').next().unwrap_or(name);
    Client::new(network.line(user(name, groups), process), &format!("{agent}/v1.37.0"))
}
