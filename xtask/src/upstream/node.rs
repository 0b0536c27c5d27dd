//! Upstream's node: kubelet, containerd with runc, and pods on a bridge.

use std::fmt::Display;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::plane::flags;
use super::tool;
use crate::process::Process;

/// As the machine itself sees it.
pub const SOCKET: &str = "/run/containerd/containerd.sock";
/// The programs that containerd looks for by itself: its shim, and what it attaches pods to networks with.
const HELPERS: [&str; 4] = ["containerd-shim-runc-v2", "bridge", "host-local", "loopback"];
/// Of the cluster's range; only this one node has pods.
const POD_CIDR: &str = "10.244.0.0/24";

/// `sandbox` is the image that holds a pod's namespaces.
pub fn containerd(command: Command, dir: &Path, sandbox: &str) -> Result<Process> {
    let networks = dir.join("cni");
    std::fs::create_dir_all(&networks)?;
    write(&networks.join("10-bridge.conflist"), network())?;
    let mut bin = None;
    for name in HELPERS {
        bin = tool(name)?.parent().map(Path::to_owned);
    }
    let (bin, config) = (bin.context("a program without a directory")?, dir.join("containerd.toml"));
    write(&config, settings(&bin, &networks, sandbox))?;
    let args = flags(&[("config", &config.display().to_string()), ("log-level", "warn")]);
    Process::start("containerd", command, &args, dir)
}

/// Its defaults but for places, and for machines where even root may give no process a negative OOM score.
fn settings(bin: &Path, networks: &Path, sandbox: &str) -> String {
    let (bin, networks) = (bin.display(), networks.display());
    format!(
        "version = 3\nroot = '/var/lib/containerd'\nstate = '/run/containerd'\n\
         [grpc]\naddress = '{SOCKET}'\n\
         [plugins.'io.containerd.internal.v1.opt']\npath = '/var/lib/containerd/opt'\n\
         [plugins.'io.containerd.cri.v1.images'.pinned_images]\nsandbox = '{sandbox}'\n\
         [plugins.'io.containerd.cri.v1.runtime']\nrestrict_oom_score_adj = true\n\
         [plugins.'io.containerd.cri.v1.runtime'.cni]\nbin_dirs = ['{bin}']\nconf_dir = '{networks}'\n"
    )
}

fn network() -> Value {
    let ipam = json!({
        "type": "host-local", "ranges": [[{"subnet": POD_CIDR}]], "routes": [{"dst": "0.0.0.0/0"}],
    });
    let bridge = json!({"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": ipam});
    json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]})
}

/// Whose it is, and where.
pub struct Kubelet<'a> {
    pub node: &'a str,
    /// Of a name that may ask for a node's certificate; a kubelet speaks for itself with one of its own.
    pub bootstrap: &'a Path,
    pub authority: &'a Path,
    pub group: &'a str,
}

impl Kubelet<'_> {
    pub fn start(&self, command: Command, dir: &Path) -> Result<Process> {
        let config = dir.join("kubelet.json");
        write(&config, self.settings())?;
        let args = flags(&[
            ("config", &config.display().to_string()),
            ("bootstrap-kubeconfig", &self.bootstrap.display().to_string()),
            ("kubeconfig", "/var/lib/kubelet/kubeconfig"),
            ("cert-dir", "/var/lib/kubelet/pki"),
            ("hostname-override", self.node),
        ]);
        Process::start("kubelet", command, &args, dir)
    }

    /// Its defaults, limits among them, on any Linux: with control groups of version 1, and however full the disk is.
    fn settings(&self) -> Value {
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
            "authentication": {"x509": {"clientCAFile": self.authority}},
            "cgroupDriver": "cgroupfs", "cgroupRoot": self.group, "failCgroupV1": false,
            "clusterDomain": "cluster.local", "clusterDNS": ["10.96.0.10"],
            "volumePluginDir": "/var/lib/kubelet/plugins",
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "100Mi"},
        })
    }
}

fn write(path: &Path, text: impl Display) -> Result<()> {
    std::fs::write(path, text.to_string()).with_context(|| format!("writing {}", path.display()))
}
