//! What a node agent asks of a runtime. Shaped after the Container Runtime Interface
//! (`k8s.io/cri-api` v1), so that containerd or CRI-O can stand behind the same trait.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use futures_util::future::BoxFuture;

pub type Result<T> = std::result::Result<T, RuntimeError>;

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("{0} not found")]
    NotFound(String),
    /// The container could not be made or started; the text goes into the pod's status.
    #[error("{0}")]
    Start(String),
    #[error("{doing}: {source}")]
    Io {
        doing: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Other(String),
}

/// Namespaces a pod takes from the host instead of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostNamespaces {
    pub network: bool,
    pub pid: bool,
    pub ipc: bool,
}

/// Users and groups of a pod's own: those from 0 on are the host's from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UserNamespace {
    pub first: u32,
    pub length: u32,
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct SandboxConfig {
    pub pod_uid: String,
    pub pod_name: String,
    pub pod_namespace: String,
    pub attempt: u32,
    pub hostname: String,
    pub host: HostNamespaces,
    /// One PID namespace for all containers of the pod.
    pub share_pid: bool,
    /// `None`: the host's users. Mounts of the pod's containers then belong to whom they belong on the host; else
    /// owners are translated.
    #[serde(default)]
    pub users: Option<UserNamespace>,
    pub sysctls: BTreeMap<String, String>,
    /// Relative cgroup path of the pod, `kubepods/burstable/pod<uid>`; made by `ensure_cgroup`.
    pub cgroup: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    pub id: String,
    pub pod_uid: String,
    pub pod_name: String,
    pub pod_namespace: String,
    pub attempt: u32,
    pub ready: bool,
    pub created_unix_nanos: i64,
    /// Bind mount of the pod's network namespace; `None` with the host's network.
    pub netns: Option<PathBuf>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// Limits as cgroup v2 names them; converted for v1.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Resources {
    /// 2..=262144, kubelet's milli-CPU * 1024 / 1000.
    pub cpu_shares: Option<u64>,
    /// Microseconds per period; `None` is unlimited.
    pub cpu_quota_us: Option<i64>,
    pub cpu_period_us: Option<u64>,
    pub memory_limit_bytes: Option<i64>,
    pub pids_limit: Option<i64>,
    pub cpuset_cpus: Option<String>,
    pub hugepages: BTreeMap<String, u64>,
    pub oom_score_adj: Option<i32>,
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Mount {
    pub container_path: PathBuf,
    pub host_path: PathBuf,
    pub read_only: bool,
    /// Submounts of the source become read-only too (`recursiveReadOnly`); implies `read_only`.
    pub recursive_read_only: bool,
    /// `private`, `rslave`, `rshared`.
    pub propagation: String,
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Device {
    pub container_path: PathBuf,
    pub host_path: PathBuf,
    /// `rwm`.
    pub permissions: String,
}

#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Seccomp {
    #[default]
    Unconfined,
    RuntimeDefault,
    /// Path of an OCI seccomp profile on the host.
    Localhost(PathBuf),
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Security {
    pub privileged: bool,
    pub uid: u32,
    pub gid: u32,
    pub supplemental_groups: Vec<u32>,
    /// Added to / dropped from the default set, without `CAP_`; `ALL` is known.
    pub add_capabilities: Vec<String>,
    pub drop_capabilities: Vec<String>,
    pub read_only_rootfs: bool,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
}

/// A container to be, all decisions made: the runtime resolves nothing.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ContainerConfig {
    pub name: String,
    pub attempt: u32,
    /// Layers of the unpacked image, topmost first (overlayfs `lowerdir` order).
    pub rootfs_layers: Vec<PathBuf>,
    /// As the status reports it.
    pub image: String,
    pub image_id: String,
    /// Program and arguments, never empty.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub working_dir: String,
    pub mounts: Vec<Mount>,
    pub devices: Vec<Device>,
    pub resources: Resources,
    pub security: Security,
    pub tty: bool,
    pub stdin: bool,
    pub stdin_once: bool,
    /// Join this container's PID namespace (ephemeral containers with a target).
    pub target_container: Option<String>,
    /// CRI-format log file; its directory exists.
    pub log_path: PathBuf,
    /// Host file bind-mounted at terminationMessagePath is an ordinary mount; nothing special here.
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Signal number that asks the process to stop.
    pub stop_signal: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running,
    Exited,
    Unknown,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    pub id: String,
    pub sandbox_id: String,
    pub name: String,
    pub attempt: u32,
    pub image: String,
    pub image_id: String,
    pub state: ContainerState,
    pub pid: Option<i32>,
    pub created_unix_nanos: i64,
    pub started_unix_nanos: i64,
    pub finished_unix_nanos: i64,
    /// 128 + signal when killed.
    pub exit_code: i32,
    pub signal: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError` (exit code 128), `Unknown` (255: nobody saw it end).
    pub reason: String,
    pub message: String,
    pub log_path: PathBuf,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// Something changed; look at the object named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    SandboxStopped { sandbox_id: String },
    ContainerExited { sandbox_id: String, container_id: String },
}

/// Live ends of an exec or attach. Absent streams were not asked for; with a tty, `stdout`
/// carries everything and `stdin` is the same terminal.
#[derive(Debug)]
pub struct Streams {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    /// The terminal's own side for TIOCSWINSZ, when there is one.
    pub tty: Option<OwnedFd>,
}

#[derive(Clone, Debug, Default)]
pub struct ExecConfig {
    pub args: Vec<String>,
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// A started exec: its streams and the exit code to come. Dropping `exit` before it is ready kills
/// the process: a probe that timed out leaves nothing behind.
pub struct Exec {
    pub streams: Streams,
    /// Exit code (128 + signal when killed).
    pub exit: BoxFuture<'static, Result<i32>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    pub unix_nanos: i64,
    pub cpu_usage_nanos: u64,
    pub memory_usage_bytes: u64,
    pub memory_working_set_bytes: u64,
    pub memory_rss_bytes: u64,
    pub writable_layer_bytes: u64,
    pub writable_layer_inodes: u64,
    pub pids: u64,
}

/// A container runtime. All calls are idempotent where CRI says so: stopping or removing what is
/// gone succeeds. Nothing here blocks the caller's thread for long.
pub trait ContainerRuntime: Send + Sync + 'static {
    /// Name and version, `orlop://0.1.0`.
    fn version(&self) -> String;

    /// What this host cannot give although a pod may ask for it, one sentence each; for the node's
    /// conditions. Such requests are clamped, not refused.
    fn limitations(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether pods may have users of their own.
    fn user_namespaces(&self) -> bool {
        false
    }

    /// Makes (or updates) a pod-level cgroup with these limits; `path` relative to the node's root.
    fn ensure_cgroup<'a>(&'a self, path: &'a str, resources: &'a Resources) -> BoxFuture<'a, Result<()>>;
    /// Removes a cgroup and what is left in it.
    fn remove_cgroup<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>>;
    fn cgroup_stats<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Stats>>;

    /// Makes the pod's namespaces (network up to `lo`); the caller attaches the network afterwards.
    fn run_sandbox<'a>(&'a self, config: &'a SandboxConfig) -> BoxFuture<'a, Result<Sandbox>>;
    /// Kills every container of the sandbox; namespaces go away with the last of them.
    fn stop_sandbox<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;
    fn remove_sandbox<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;
    fn sandboxes(&self) -> BoxFuture<'_, Result<Vec<Sandbox>>>;

    fn create_container<'a>(
        &'a self,
        sandbox_id: &'a str,
        config: &'a ContainerConfig,
    ) -> BoxFuture<'a, Result<String>>;
    fn start_container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;
    /// Stop signal, then SIGKILL after the grace period; returns when it has exited.
    fn stop_container<'a>(&'a self, id: &'a str, grace_period_seconds: i64) -> BoxFuture<'a, Result<()>>;
    fn remove_container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;
    fn containers(&self) -> BoxFuture<'_, Result<Vec<Container>>>;
    fn container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Container>>;
    fn update_resources<'a>(&'a self, id: &'a str, resources: &'a Resources) -> BoxFuture<'a, Result<()>>;
    fn container_stats<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Stats>>;
    /// Closes and reopens the log file after rotation.
    fn reopen_log<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;

    fn exec<'a>(&'a self, id: &'a str, config: &'a ExecConfig) -> BoxFuture<'a, Result<Exec>>;
    fn attach<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Streams>>;

    /// Everything that happens from now on; a lagging receiver must list again.
    fn events(&self) -> tokio::sync::broadcast::Receiver<RuntimeEvent>;
}

/// A port of the node that leads to a container (`hostPort`).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PortMapping {
    /// `TCP`, `UDP`, `SCTP`.
    pub protocol: String,
    pub host_ip: Option<std::net::IpAddr>,
    pub host_port: u16,
    pub container_port: u16,
}

/// Gives a sandbox its network: interface, addresses, routes, host ports. What CNI ADD and DEL do.
pub trait PodNetwork: Send + Sync + 'static {
    /// Returns the pod's addresses, primary family first. Idempotent per sandbox.
    fn attach<'a>(
        &'a self,
        sandbox: &'a Sandbox,
        ports: &'a [PortMapping],
    ) -> BoxFuture<'a, Result<Vec<std::net::IpAddr>>>;
    /// Frees addresses and ports; succeeds when there are none.
    fn detach<'a>(&'a self, sandbox_id: &'a str) -> BoxFuture<'a, Result<()>>;
    /// After a restart: keep what these sandboxes have, free the rest.
    fn adopt<'a>(&'a self, live_sandbox_ids: &'a [String]) -> BoxFuture<'a, Result<()>>;
    /// Addresses of an attached sandbox.
    fn addresses(&self, sandbox_id: &str) -> Vec<std::net::IpAddr>;
}
