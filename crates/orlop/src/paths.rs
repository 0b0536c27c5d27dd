//! Where things are.

use std::path::{Path, PathBuf};

/// What survives a reboot.
pub const DATA_DIR: &str = "/var/lib/orlop";
/// What need not.
pub const RUN_DIR: &str = "/run/orlop";

/// The files below the data directory.
#[derive(Clone, Debug)]
pub struct Paths {
    pub data: PathBuf,
    pub run: PathBuf,
}

impl Paths {
    pub fn new(data: &Path, run: &Path) -> Self {
        Self { data: data.to_owned(), run: run.to_owned() }
    }

    /// What this node's things are labelled with where the machine has room for one node only.
    pub fn owner(&self) -> String {
        let data = self.data.canonicalize().unwrap_or_else(|_| self.data.clone());
        data.to_string_lossy().into_owned()
    }

    pub fn store(&self) -> PathBuf {
        self.data.join("store")
    }

    pub fn pki(&self) -> PathBuf {
        self.data.join("pki")
    }

    pub fn identity(&self) -> PathBuf {
        self.data.join("identity")
    }

    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.data.join("admin.kubeconfig")
    }

    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    pub fn kubelet(&self) -> PathBuf {
        self.data.join("kubelet")
    }

    /// A directory for each pod of this node.
    pub fn pods(&self) -> PathBuf {
        self.kubelet().join("pods")
    }

    pub fn manifests(&self) -> PathBuf {
        self.data.join("manifests")
    }

    pub fn network(&self) -> PathBuf {
        self.data.join("network")
    }

    pub fn runtime_state(&self) -> PathBuf {
        self.data.join("runtime")
    }

    /// Options of the container runtime of the node with this name.
    pub fn runtime(&self, node_name: &str) -> orlop_runtime::RuntimeOptions {
        orlop_runtime::RuntimeOptions {
            state_dir: self.runtime_state(),
            run_dir: self.run.clone(),
            cgroup_root: format!("/orlop/{node_name}"),
            shim: orlop_runtime::ShimCommand::default(),
            oci_runtime: None,
        }
    }
}
