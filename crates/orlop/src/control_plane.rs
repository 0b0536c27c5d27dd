//! Store, API server, controllers and scheduler, wired together. They meet only through the API.

use std::sync::Arc;

use anyhow::{Context, Result};
use orlop_client::Client;
use orlop_client::cache::Factory;
use orlop_client::engine::lease::{Terms, lead};
use orlop_client::events::Recorder;
use orlop_client::transport::UserInfo;
use orlop_controllers::list::{MANAGER, Settings, Signer, TokenSigner};
use orlop_scheduler::run::Scheduler;
use orlop_server::audit::Audit;
use orlop_server::authz;
use orlop_server::encryption::Encryption;
use orlop_server::health::Check;
use orlop_server::pki::kubeconfig::Access;
use orlop_server::pki::{self, Pki};
use orlop_server::token::{Issuer, jwt};
use orlop_server::trace::Tracer;
use orlop_server::{Security, Server};
use orlop_store::disk::RealDisk;
use orlop_store::{Config, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::encryption;
use crate::server::{Arguments, Machine};

/// A running control plane.
pub struct ControlPlane {
    pub store: Store,
    pub pki: Arc<Pki>,
    pub server: Arc<Server>,
    pub audit: Option<Arc<Audit>>,
    pub tracer: Option<Arc<Tracer>>,
    /// Keeps others off the data directory where the store itself does not.
    _lock: Option<RealDisk>,
}

impl ControlPlane {
    /// Serves when this returns; controllers and scheduler follow by themselves.
    pub async fn start(
        arguments: &Arc<Arguments>,
        machine: &Machine,
        listener: TcpListener,
        shutdown: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Self> {
        let paths = arguments.paths();
        let encryption = arguments.encryption.load()?;
        let (store, lock) = open_store(arguments, encryption.as_ref()).await.context("opening the store")?;
        let keys = arguments.encryption.health_check(encryption.as_ref());
        arguments.encryption.follow(encryption, &store, shutdown, tasks);
        if let Some(torn) = store.torn() {
            tracing::warn!(?torn, "the last write was cut off by a crash; it was never acknowledged");
        }
        let pki = Arc::new(Pki::open(pki_config(arguments, machine)).context("opening the cluster's keys")?);
        let security = security(arguments, &store, &pki).await?;
        let audit = Audit::start(arguments.audit.options()?).context("setting up auditing")?;
        let tracer = arguments.traces.start()?;
        let watching = Watching { audit: audit.clone(), tracer: tracer.clone(), keys };
        let server = server(arguments, machine, &security, watching)?;
        let plane = Self { store, pki, server, audit, tracer, _lock: lock };
        plane.listen(&security, listener, shutdown, tasks)?;
        plane.bootstrap(&security).await?;
        tasks.spawn(orlop_base::task::boxed(plane.server.clone().maintain(shutdown.clone())));
        let issuer = security.authentication().issuer().clone();
        let (server, stop) = (plane.server.clone(), shutdown.clone());
        tasks.spawn(orlop_base::task::boxed(async move {
            stop.run_until_cancelled(security.run(&server)).await.unwrap_or_default();
        }));
        let identity = crate::identity::candidate(&paths.identity()).context("finding out who stands for leader")?;
        if !arguments.disable_controllers {
            plane.spawn_controllers(issuer, &identity, shutdown, tasks);
        }
        if !arguments.disable_scheduler {
            plane.spawn_scheduler(&identity, shutdown, tasks);
        }
        Ok(plane)
    }

    /// A client with this identity, in process.
    pub fn client(&self, name: &str, groups: &[&str]) -> Client {
        client(&self.server, name, groups)
    }

    /// As the API server itself: may do everything.
    pub fn master(&self) -> Client {
        self.client("system:apiserver", &[authz::MASTERS])
    }

    fn listen(
        &self,
        security: &Security,
        listener: TcpListener,
        shutdown: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<()> {
        let tls = security.tls().context("making the TLS configuration")?;
        let (server, stop) = (self.server.clone(), shutdown.clone());
        tasks.spawn(orlop_base::task::boxed(async move {
            if let Err(error) = server.serve(listener, tls, stop).await {
                tracing::error!(%error, "the API server has ended");
            }
        }));
        Ok(())
    }

    /// Namespaces and the default policy must stand before any component may do anything.
    async fn bootstrap(&self, security: &Security) -> Result<()> {
        self.server.bootstrap().await.context("making the objects that every cluster has")?;
        security.make_policy(&self.server).await.context("making the default policy")
    }

    fn spawn_controllers(
        &self,
        issuer: Arc<Issuer>,
        identity: &str,
        shutdown: &CancellationToken,
        tasks: &TaskTracker,
    ) {
        let manager = self.client("system:kube-controller-manager", &[]);
        let terms = Terms::new("kube-controller-manager", identity);
        let ca = self.pki.cluster_ca().clone();
        let root_ca = ca.pem().to_owned();
        let sign = move |request: &[u8], usages: &[String], duration| {
            ca.sign_request(request, usages, duration).map_err(|error| orlop_base::error::chain(&error))
        };
        let key = issuer.own_key().cloned();
        let token_signer = key.map(|key| TokenSigner::new(move |claims| jwt::sign(&key, claims)));
        let settings = Settings { root_ca, signer: Signer::new(sign), token_signer };
        let server = self.server.clone();
        tasks.spawn(orlop_base::task::boxed(lead(manager.clone(), terms, shutdown.clone(), move |leading| {
            let factory = Factory::new(manager.clone(), leading.clone());
            let connect = |name: &str| match name {
                MANAGER => manager.clone(),
                _ => controller_client(&server, name),
            };
            let started = orlop_controllers::list::start(&settings, &factory, connect, &leading);
            async move {
                leading.cancelled().await;
                for controller in started {
                    controller.ended().await;
                }
                factory.ended().await;
            }
        })));
    }

    fn spawn_scheduler(&self, identity: &str, shutdown: &CancellationToken, tasks: &TaskTracker) {
        let client = self.client("system:kube-scheduler", &[]);
        let terms = Terms::new("kube-scheduler", identity);
        tasks.spawn(orlop_base::task::boxed(lead(client.clone(), terms, shutdown.clone(), move |leading| {
            let factory = Factory::new(client.clone(), leading.clone());
            let recorder = Recorder::new(client.clone(), "default-scheduler", "", leading.clone());
            let scheduler = Scheduler::new(&factory, client.clone(), recorder);
            async move {
                scheduler.run(leading).await;
                factory.ended().await;
            }
        })));
    }
}

/// Also with etcd, one process at a time has the data directory: keys and identity are in it.
async fn open_store(arguments: &Arguments, encryption: Option<&Arc<Encryption>>) -> Result<(Store, Option<RealDisk>)> {
    let place = arguments.paths().store();
    match arguments.etcd.open(encryption).await? {
        None => {
            let config = encryption::Arguments::apply(encryption, Config::at(place));
            Ok((Store::open(config).await?, None))
        }
        Some(store) => {
            let lock = RealDisk::open(&place).with_context(|| format!("locking {}", place.display()))?;
            Ok((store, Some(lock)))
        }
    }
}

fn client(server: &Arc<Server>, name: &str, groups: &[&str]) -> Client {
    let groups = groups.iter().map(|g| (*g).to_owned()).collect();
    let user = UserInfo { name: name.to_owned(), groups, ..UserInfo::default() };
    let agent = name.rsplit(':').next().unwrap_or(name);
    Client::new(server.component(user), &format!("{agent}/{}", env!("CARGO_PKG_VERSION")))
}

/// A controller is a ServiceAccount of its own, and owns fields under its manager's name, as upstream.
fn controller_client(server: &Arc<Server>, name: &str) -> Client {
    let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system"];
    client(server, &format!("system:serviceaccount:kube-system:{name}"), &groups)
        .with_user_agent(&format!("kube-controller-manager/{}", env!("CARGO_PKG_VERSION")))
}

fn pki_config(arguments: &Arguments, machine: &Machine) -> pki::Config {
    pki::Config {
        dir: arguments.paths().pki(),
        node_name: machine.node_name.clone(),
        addresses: machine.addresses.clone(),
        service_address: arguments.service_cidr.nth(1),
        cluster_domain: arguments.cluster_domain.clone(),
        extra_names: arguments.tls_san.clone(),
    }
}

async fn security(arguments: &Arguments, store: &Store, pki: &Arc<Pki>) -> Result<Security> {
    let mut config = arguments.security.config(&arguments.cluster_domain)?;
    arguments.security.open_signer(&mut config).await?;
    Security::new(store, pki.clone(), config).context("setting up authentication and authorization")
}

/// What looks on.
struct Watching {
    audit: Option<Arc<Audit>>,
    tracer: Option<Arc<Tracer>>,
    keys: Option<Check>,
}

fn server(arguments: &Arguments, machine: &Machine, security: &Security, watching: Watching) -> Result<Arc<Server>> {
    let mut config = security.server_config();
    config.audit = watching.audit;
    config.tracer = watching.tracer;
    config.health_checks.extend(watching.keys);
    config.limits = arguments.serving.limits()?;
    config.features = arguments.serving.features()?;
    security.serve_discovery(&mut config, format!("{}:{}", machine.node_ip, arguments.secure_port));
    config.advertise_address = machine.node_ip;
    config.secure_port = arguments.secure_port;
    config.flags.clone_from(&arguments.flags);
    config.services.cidrs = vec![arguments.service_cidr];
    Ok(Server::new(config))
}

/// The administrator's way in: always our own file, others on request.
pub fn write_kubeconfigs(arguments: &Arguments, pki: &Pki) -> Result<()> {
    let identity = pki.admin.identity();
    let server = format!("https://127.0.0.1:{}", arguments.secure_port);
    let access = Access {
        cluster: "orlop",
        user: "kubernetes-admin",
        server: &server,
        ca_pem: pki.cluster_ca().pem(),
        certificate_pem: &identity.certificate_pem,
        key_pem: &identity.key_pem,
    };
    access.write(&arguments.paths().admin_kubeconfig()).context("writing the admin's kubeconfig")?;
    if let Some(path) = &arguments.write_kubeconfig {
        access.write(path).context("writing the kubeconfig")?;
    }
    if arguments.merge_kubeconfig {
        let home = std::env::var_os("HOME").context("finding the home directory for ~/.kube/config")?;
        access.merge_into(&std::path::Path::new(&home).join(".kube/config")).context("adding to ~/.kube/config")?;
    }
    Ok(())
}
