//! The node of this process: pod network, Services, DNS, images, containers, kubelet.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use orlop_client::cache::Factory;
use orlop_dns::forward::Forwarder;
use orlop_dns::serve::{Nameserver, Sockets};
use orlop_host::linux::Linux;
use orlop_kubelet::{Kubelet, KubeletConfig};
use orlop_network::node::{NodeConfig, NodeNetworking};
use orlop_network::proxy;
use orlop_runtime::{Runtime, RuntimeOptions};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::addons;
use crate::control_plane::ControlPlane;
use crate::image_store;
use crate::registries;
use crate::server::{Arguments, Machine};

/// The bridge that pods hang on.
pub const BRIDGE: &str = "orlop0";
const MTU: u32 = 1500;
const RESOLV_CONF: &str = "/etc/resolv.conf";

pub async fn start(
    arguments: &Arc<Arguments>,
    machine: &Machine,
    dataplane: Arc<Linux>,
    plane: &ControlPlane,
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<()> {
    let networking = network(arguments, machine, dataplane)?;
    let proxy_client = plane.client("system:kube-proxy", &[]);
    let factory = Factory::new(proxy_client, shutdown.clone());
    tasks.spawn(orlop_base::task::boxed(proxy::run(networking.clone(), factory.clone(), shutdown.clone())));
    dns(arguments, plane, factory, shutdown, tasks).await?;

    let paths = arguments.paths();
    let options = RuntimeOptions { oci_runtime: arguments.oci_runtime.clone(), ..paths.runtime(&machine.node_name) };
    let runtime = Runtime::open(options).await.context("opening the container runtime")?;
    let images = image_store::open(&paths, registries::read(&arguments.registries)?).await?;
    let name = format!("system:node:{}", machine.node_name);
    let client = plane.client(&name, &["system:nodes"]);
    let config = kubelet_config(arguments, machine, plane)?;
    let kubelet = Kubelet::new(config, client, runtime, images, Arc::new(networking));
    tasks.spawn(orlop_base::task::boxed(kubelet.run(shutdown.clone())));
    Ok(())
}

fn network(arguments: &Arguments, machine: &Machine, dataplane: Arc<Linux>) -> Result<NodeNetworking> {
    let config = NodeConfig {
        node_name: machine.node_name.clone(),
        owner: arguments.paths().owner(),
        state_dir: arguments.paths().network(),
        bridge: BRIDGE.into(),
        mtu: MTU,
        families: vec![arguments.family()],
    };
    NodeNetworking::start(config, dataplane).context("setting up the pod network")
}

/// The name server listens where pods' packets to the cluster's DNS address are sent: the bridge.
async fn dns(
    arguments: &Arguments,
    plane: &ControlPlane,
    factory: Factory,
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<()> {
    let gateway = arguments.family().gateway().address;
    let own = vec![gateway, arguments.cluster_dns()];
    let server = Nameserver::new(&arguments.cluster_domain, Forwarder::new(RESOLV_CONF.into(), own));
    let address = SocketAddr::new(gateway, 53);
    let sockets = Sockets::bind(address).await.with_context(|| format!("serving DNS on {address}"))?;
    tasks.spawn(orlop_base::task::boxed(orlop_dns::source::follow(server.clone(), factory, shutdown.clone())));
    tasks.spawn(orlop_base::task::boxed(server.run(sockets, shutdown.clone())));
    let wanted = addons::dns(arguments.cluster_dns(), gateway);
    let (client, stop) = (plane.master(), shutdown.clone());
    tasks.spawn(orlop_base::task::boxed(async move {
        stop.run_until_cancelled(addons::keep(client, wanted)).await.unwrap_or_default();
    }));
    Ok(())
}

fn kubelet_config(arguments: &Arguments, machine: &Machine, plane: &ControlPlane) -> Result<KubeletConfig> {
    let paths = arguments.paths();
    let mut config = KubeletConfig::new(machine.node_name.clone(), machine.node_ip);
    config.dirs.root = paths.kubelet();
    config.dirs.pod_logs.clone_from(&arguments.pod_logs_dir);
    config.dirs.seccomp = paths.kubelet().join("seccomp");
    config.pod_manifest_dir = Some(paths.manifests());
    config.cluster_dns = vec![arguments.cluster_dns()];
    config.cluster_domain.clone_from(&arguments.cluster_domain);
    config.resolv_conf = RESOLV_CONF.into();
    config.allowed_unsafe_sysctls.clone_from(&arguments.allowed_unsafe_sysctls);
    keep_free(&mut config);
    config.server.address.set_port(arguments.kubelet_port);
    config.server.tls = Some(plane.pki.kubelet_server_config()?);
    config.server.client_verifier = Some(plane.pki.user_verifier()?);
    Ok(config)
}

/// Upstream keeps 15% of the disk free of pods and images. This node shares its disk with whatever else the
/// machine does, and a tenth of a large disk is more than it needs to stay well.
fn keep_free(config: &mut KubeletConfig) {
    for signal in ["nodefs.available", "imagefs.available"] {
        config.eviction.hard.insert(signal.into(), "1Gi".into());
    }
    config.image_gc.high_percent = 95;
    config.image_gc.low_percent = 90;
}
