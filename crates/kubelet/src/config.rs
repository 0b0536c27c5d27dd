//! How one node is set up.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;

/// Everything a node agent must be told. [`KubeletConfig::new`] fills in upstream's defaults.
#[derive(Clone, Debug)]
pub struct KubeletConfig {
    pub node_name: String,
    /// Addresses of the node, primary family first.
    pub node_ips: Vec<IpAddr>,
    pub dirs: Dirs,
    /// Manifests of static pods; `None`: no static pods.
    pub pod_manifest_dir: Option<PathBuf>,
    pub max_pods: u32,
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: String,
    /// The node's own resolver configuration, for `dnsPolicy: Default`.
    pub resolv_conf: PathBuf,
    /// Labels the node registers with, beside the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// `key=value:Effect`, set when the node registers.
    pub taints: Vec<Taint>,
    /// Resource amounts kept from pods, by resource name.
    pub reserved: BTreeMap<String, String>,
    pub eviction: EvictionThresholds,
    /// `pids.max` of a pod; `None`: unlimited.
    pub pod_pids_limit: Option<i64>,
    pub image_gc: ImageGc,
    pub logs: LogRotation,
    pub server: ServerConfig,
    pub lease_duration_seconds: i32,
    /// The longest crash-loop back-off, in seconds.
    pub max_crash_backoff_seconds: i64,
    /// Sysctls beyond the safe set that pods may set: names or `prefix*`.
    pub allowed_unsafe_sysctls: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: String,
}

#[derive(Clone, Debug)]
pub struct Dirs {
    /// Pods' directories and volumes, node state.
    pub root: PathBuf,
    /// Container logs, `<namespace>_<name>_<uid>/<container>/<n>.log`.
    pub pod_logs: PathBuf,
    /// Links by container id for log collectors; `None`: no links.
    pub container_logs: Option<PathBuf>,
    /// `Localhost` seccomp profiles.
    pub seccomp: PathBuf,
}

/// When pods are evicted. Amounts are quantities or percentages, as in `--eviction-hard`.
#[derive(Clone, Debug)]
pub struct EvictionThresholds {
    /// Signal (`memory.available`, `nodefs.available`, `nodefs.inodesFree`, `imagefs.available`,
    /// `imagefs.inodesFree`, `pid.available`) to threshold.
    pub hard: BTreeMap<String, String>,
    /// How long a node condition stays after the pressure is gone, in seconds.
    pub pressure_transition_seconds: i64,
}

#[derive(Clone, Copy, Debug)]
pub struct ImageGc {
    /// Percent of the image file system above which unused images go.
    pub high_percent: u8,
    /// ... until it is below this.
    pub low_percent: u8,
    pub min_age_seconds: i64,
}

#[derive(Clone, Copy, Debug)]
pub struct LogRotation {
    pub max_bytes: u64,
    pub max_files: usize,
}

/// The HTTPS endpoint of the node.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub address: SocketAddr,
    /// The serving side, which asks clients for certificates; `None`: the node signs its own.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Judges client certificates; `None`: none is believed.
    pub client_verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// `false`: no server (tests, simulations).
    pub enabled: bool,
}

/// The kubelet's port.
pub const PORT: u16 = 10250;

impl KubeletConfig {
    pub fn new(node_name: impl Into<String>, node_ip: IpAddr) -> Self {
        Self {
            node_name: node_name.into(),
            node_ips: vec![node_ip],
            dirs: Dirs {
                root: "/var/lib/orlop/kubelet".into(),
                pod_logs: "/var/log/pods".into(),
                container_logs: Some("/var/log/containers".into()),
                seccomp: "/var/lib/orlop/kubelet/seccomp".into(),
            },
            pod_manifest_dir: None,
            max_pods: 110,
            cluster_dns: vec![IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10))],
            cluster_domain: "cluster.local".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            reserved: BTreeMap::new(),
            eviction: EvictionThresholds::default(),
            pod_pids_limit: None,
            image_gc: ImageGc { high_percent: 85, low_percent: 80, min_age_seconds: 120 },
            logs: LogRotation { max_bytes: 10 << 20, max_files: 5 },
            server: ServerConfig {
                address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT),
                tls: None,
                client_verifier: None,
                enabled: true,
            },
            lease_duration_seconds: 40,
            max_crash_backoff_seconds: 300,
            allowed_unsafe_sysctls: Vec::new(),
        }
    }

    pub fn node_ip(&self) -> IpAddr {
        self.node_ips.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

impl Default for EvictionThresholds {
    /// Upstream's `DefaultEvictionHard` for Linux.
    fn default() -> Self {
        let hard = [
            ("memory.available", "100Mi"),
            ("nodefs.available", "10%"),
            ("nodefs.inodesFree", "5%"),
            ("imagefs.available", "15%"),
            ("imagefs.inodesFree", "5%"),
        ];
        Self {
            hard: hard.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            pressure_transition_seconds: 300,
        }
    }
}
