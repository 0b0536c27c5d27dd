//! `orlop server`: the control plane, and a node unless told not to, in one process.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use orlop_api::cidr::Cidr;
use orlop_host::linux::Linux;
use orlop_network::dataplane::Dataplane;
use orlop_network::node::FamilyConfig;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control_plane::{self, ControlPlane};
use crate::etcd::EtcdArguments;
use crate::node;
use crate::paths::{self, Paths};
use crate::{audit, encryption, serving};

#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Where the cluster's state is kept
    #[arg(long, default_value = paths::DATA_DIR)]
    pub data_dir: PathBuf,
    /// Where sockets and mounts of running pods are kept
    #[arg(long, default_value = paths::RUN_DIR)]
    pub run_dir: PathBuf,
    /// Address the API server listens on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub bind_address: IpAddr,
    /// Port of the API server
    #[arg(long, default_value_t = 6443)]
    pub secure_port: u16,
    /// Name of this node [default: the host name]
    #[arg(long)]
    pub node_name: Option<String>,
    /// Address of this node [default: the one of the default route]
    #[arg(long)]
    pub node_ip: Option<IpAddr>,
    /// More names or addresses that the API server is reached by
    #[arg(long, value_name = "NAME")]
    pub tls_san: Vec<String>,
    /// Addresses of pods
    #[arg(long, default_value = "10.244.0.0/16")]
    pub cluster_cidr: Cidr,
    /// Addresses of Services
    #[arg(long, default_value = "10.96.0.0/12")]
    pub service_cidr: Cidr,
    /// Domain of the cluster's names
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Run no pods here: control plane only
    #[arg(long)]
    pub disable_node: bool,
    /// Run no controllers here: another controller manager does, or none
    #[arg(long)]
    pub disable_controllers: bool,
    /// Run no scheduler here: another scheduler does, or none
    #[arg(long)]
    pub disable_scheduler: bool,
    /// Port of the node's own API
    #[arg(long, default_value_t = 10250)]
    pub kubelet_port: u16,
    /// Logs of pods
    #[arg(long, default_value = "/var/log/pods")]
    pub pod_logs_dir: PathBuf,
    /// Run containers by this OCI runtime (runc, crun) instead of the embedded one
    #[arg(long, value_name = "PROGRAM")]
    pub oci_runtime: Option<PathBuf>,
    /// Kernel parameters, or prefixes ending in '*', that pods may set beside the safe ones
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub allowed_unsafe_sysctls: Vec<String>,
    /// Registry mirrors and credentials
    #[arg(long, default_value = crate::registries::FILE)]
    pub registries: PathBuf,
    /// Also add the cluster to ~/.kube/config
    #[arg(long)]
    pub merge_kubeconfig: bool,
    /// Write the admin's kubeconfig here too
    #[arg(long, value_name = "FILE")]
    pub write_kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    pub logs: crate::logging::Arguments,
    #[command(flatten)]
    pub etcd: EtcdArguments,
    #[command(flatten)]
    pub audit: audit::Arguments,
    #[command(flatten)]
    pub encryption: encryption::Arguments,
    #[command(flatten)]
    pub traces: crate::traces::Arguments,
    #[command(flatten)]
    pub serving: serving::Arguments,
    #[command(flatten)]
    pub security: crate::security::Arguments,
    /// All of these by name, as they were given or are by default.
    #[arg(skip)]
    pub flags: BTreeMap<String, String>,
}

impl Arguments {
    pub fn paths(&self) -> Paths {
        Paths::new(&self.data_dir, &self.run_dir)
    }

    /// The first /24 of the cluster's range: that of its only node.
    pub fn family(&self) -> FamilyConfig {
        let bits = if self.cluster_cidr.network().is_ipv4() { 24 } else { 64 };
        let node_cidr = Cidr::of(self.cluster_cidr.network(), bits.max(self.cluster_cidr.prefix()));
        FamilyConfig { cluster_cidr: self.cluster_cidr, node_cidr, service_cidr: self.service_cidr }
    }

    /// Cluster DNS, as every distribution has it: the tenth address of the range.
    pub fn cluster_dns(&self) -> IpAddr {
        self.service_cidr.nth(10)
    }
}

/// This machine, as the cluster knows it.
#[derive(Clone, Debug)]
pub struct Machine {
    pub node_name: String,
    pub node_ip: IpAddr,
    /// Every address the serving certificate must name.
    pub addresses: Vec<IpAddr>,
}

/// After how many tasks of its own a worker looks for those that another thread woke: the writes that the committer
/// made durable. Left to itself the runtime looks after two or three, so that whoever is answered first sends its next
/// request before others are answered at all, and the slowest wait half as long again.
const OWN_TASKS_IN_A_ROW: u32 = 61;

pub fn run(arguments: Arguments) -> Result<()> {
    arguments.logs.clone().start()?;
    raise_open_files();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime =
        runtime.enable_all().global_queue_interval(OWN_TASKS_IN_A_ROW).build().context("starting the runtime")?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> Result<()> {
    let arguments = Arc::new(arguments);
    let dataplane = Arc::new(Linux::new().context("reaching the kernel's network")?);
    let machine = machine(&arguments, &*dataplane)?;
    let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
    let address = SocketAddr::new(arguments.bind_address, arguments.secure_port);
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    let plane = ControlPlane::start(&arguments, &machine, listener, &shutdown, &tasks).await?;
    control_plane::write_kubeconfigs(&arguments, &plane.pki)?;
    tracing::info!(%address, kubeconfig = %arguments.paths().admin_kubeconfig().display(), "API server ready");
    if !arguments.disable_node {
        node::start(&arguments, &machine, dataplane, &plane, &shutdown, &tasks).await?;
    }
    wait_for_signal().await?;
    plane.server.leave();
    tokio::time::sleep(arguments.serving.shutdown_delay_duration).await;
    tracing::info!("stopping; containers go on");
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
    if let Some(audit) = &plane.audit {
        audit.close().await;
    }
    if let Some(tracer) = &plane.tracer {
        tracer.close().await;
    }
    plane.store.close().await.context("closing the store")
}

fn machine(arguments: &Arguments, dataplane: &dyn Dataplane) -> Result<Machine> {
    let host_name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let node_name = arguments.node_name.clone().unwrap_or(host_name);
    let found = dataplane.node_addresses().context("finding this machine's addresses")?;
    let family = arguments.family();
    // The bridge of an earlier start is no address of the machine.
    let found: Vec<IpAddr> = found.into_iter().filter(|ip| !family.cluster_cidr.contains(*ip)).collect();
    let node_ip = arguments.node_ip.or_else(|| found.first().copied()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let mut addresses = found;
    if !addresses.contains(&node_ip) {
        addresses.push(node_ip);
    }
    Ok(Machine { node_name, node_ip, addresses })
}

/// Watches and pods are many open files; what the system grants is taken.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "the number of open files stays as it is");
    }
}

async fn wait_for_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
