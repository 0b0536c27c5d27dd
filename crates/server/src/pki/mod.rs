//! The cluster's keys and certificates, under `<data-dir>/pki` with kubeadm's file names.
//!
//! - [`Authority`]: a CA, made on first start and then only read.
//! - [`Leaf`]: a certificate in use: issued when missing, unfit or old, and swapped under running
//!   TLS configurations.
//! - [`Pki`]: all of them, and the task that renews.
//! - [`kubeconfig`]: the administrator's way in.
//!
//! Files that a user brought are used as they are; what is written is written whole or not at all,
//! and private keys only for their owner.

mod authority;
mod der;
mod files;
mod keys;
pub mod kubeconfig;
mod leaf;
mod requests;
pub mod tls;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orlop_base::clock;
use tokio::sync::Notify;

pub use authority::Authority;
pub use keys::{PublicKey, SigningKey};
pub use leaf::{Identity, Leaf, Profile, Usage};

/// Reading, making or writing keys and certificates failed.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{action} {path}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} is not {expected}: {reason}")]
    Content { path: PathBuf, expected: &'static str, reason: String },
    #[error("issuing {what}: {reason}")]
    Issue { what: String, reason: String },
    #[error("{path} is missing, and a certificate it should sign must be made")]
    NoCaKey { path: PathBuf },
    #[error("TLS configuration")]
    Tls(#[from] rustls::Error),
}

/// Where things are and what the server is called.
#[derive(Clone, Debug)]
pub struct Config {
    /// `<data-dir>/pki`.
    pub dir: PathBuf,
    pub node_name: String,
    /// Addresses this machine is reached by.
    pub addresses: Vec<IpAddr>,
    /// First address of the service range: `kubernetes.default`'s ClusterIP.
    pub service_address: IpAddr,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// More names or addresses for the serving certificate (`--tls-san`).
    pub extra_names: Vec<String>,
}

/// All keys and certificates of a control plane.
#[derive(Debug)]
pub struct Pki {
    config: Config,
    cluster_ca: Arc<Authority>,
    front_proxy_ca: Arc<Authority>,
    service_account_key: Arc<SigningKey>,
    pub serving: Arc<Leaf>,
    /// How the API server shows itself to kubelets.
    pub kubelet_client: Arc<Leaf>,
    /// How the API server shows itself to aggregated API servers.
    pub front_proxy_client: Arc<Leaf>,
    pub admin: Arc<Leaf>,
    /// This machine's kubelet, serving.
    pub kubelet_serving: Arc<Leaf>,
    /// This machine's kubelet, calling.
    pub node_client: Arc<Leaf>,
    due: Arc<Notify>,
}

/// At most this long between looks at the clock: while a machine sleeps, timers stand still.
const LONGEST_WAIT: Duration = Duration::from_hours(12);
/// After a renewal that failed (a full disk, say).
const RETRY_WAIT: Duration = Duration::from_mins(1);

impl Pki {
    /// Reads what is there and makes what is missing, unfit or near its end.
    pub fn open(config: Config) -> Result<Self, PkiError> {
        files::make_private_dir(&config.dir)?;
        let path = |name: &str| config.dir.join(name);
        let cluster_ca = Arc::new(Authority::open(&path("ca"), "kubernetes")?);
        let front_proxy_ca = Arc::new(Authority::open(&path("front-proxy-ca"), "front-proxy-ca")?);
        let service_account_key = Arc::new(SigningKey::open(&path("sa"))?);
        let due = Arc::new(Notify::new());
        let cluster = |name: &str, profile| Leaf::open(path(name), cluster_ca.clone(), profile, due.clone());
        Ok(Self {
            serving: cluster("apiserver", serving_profile(&config))?,
            kubelet_client: cluster("apiserver-kubelet-client", Profile::client("kube-apiserver-kubelet-client", ""))?,
            admin: cluster("admin", Profile::client("kubernetes-admin", "system:masters"))?,
            kubelet_serving: cluster("kubelet", kubelet_profile(&config, Usage::Server))?,
            node_client: cluster("kubelet-client", kubelet_profile(&config, Usage::Client))?,
            front_proxy_client: Leaf::open(
                path("front-proxy-client"),
                front_proxy_ca.clone(),
                Profile::client("front-proxy-client", ""),
                due.clone(),
            )?,
            config,
            cluster_ca,
            front_proxy_ca,
            service_account_key,
            due,
        })
    }

    pub fn cluster_ca(&self) -> &Arc<Authority> {
        &self.cluster_ca
    }

    pub fn front_proxy_ca(&self) -> &Arc<Authority> {
        &self.front_proxy_ca
    }

    /// Signs ServiceAccount tokens.
    pub fn service_account_key(&self) -> &Arc<SigningKey> {
        &self.service_account_key
    }

    pub fn dir(&self) -> &Path {
        &self.config.dir
    }

    /// Renews certificates before they expire, for as long as it is polled.
    pub async fn run(&self) {
        loop {
            let wait = if self.renew_due() { self.next_wait() } else { RETRY_WAIT };
            tokio::select! {
                biased;
                () = self.due.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Whether all that were due could be renewed.
    fn renew_due(&self) -> bool {
        let mut ok = true;
        for leaf in self.leaves() {
            match leaf.renew_if_due() {
                Ok(false) => {}
                Ok(true) => tracing::info!(certificate = %leaf.path().display(), "certificate renewed"),
                Err(error) => {
                    ok = false;
                    let error = orlop_base::error::chain(&error);
                    tracing::error!(certificate = %leaf.path().display(), error, "certificate renewal failed");
                }
            }
        }
        ok
    }

    fn next_wait(&self) -> Duration {
        let next = self.leaves().iter().map(|leaf| leaf.renew_at()).min().unwrap_or(i64::MAX);
        let seconds = next.saturating_sub(clock::unix_seconds()).max(0);
        Duration::from_secs(seconds as u64).min(LONGEST_WAIT)
    }

    fn leaves(&self) -> [&Arc<Leaf>; 6] {
        [
            &self.serving,
            &self.kubelet_client,
            &self.front_proxy_client,
            &self.admin,
            &self.kubelet_serving,
            &self.node_client,
        ]
    }
}

fn serving_profile(config: &Config) -> Profile {
    let service = |suffix: &str| format!("kubernetes{suffix}");
    let mut names = BTreeSet::from([
        service(""),
        service(".default"),
        service(".default.svc"),
        service(&format!(".default.svc.{}", config.cluster_domain)),
        "localhost".to_owned(),
        config.node_name.to_lowercase(),
    ]);
    let mut addresses: BTreeSet<IpAddr> = config.addresses.iter().copied().collect();
    addresses.extend([config.service_address, Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    for name in &config.extra_names {
        match name.parse() {
            Ok(address) => drop(addresses.insert(address)),
            Err(_) => drop(names.insert(name.clone())),
        }
    }
    Profile {
        common_name: "kube-apiserver".into(),
        organization: String::new(),
        names,
        addresses,
        usage: Usage::Server,
    }
}

fn kubelet_profile(config: &Config, usage: Usage) -> Profile {
    let mut profile = Profile::client(&format!("system:node:{}", config.node_name), "system:nodes");
    if usage == Usage::Server {
        profile.names = BTreeSet::from([config.node_name.to_lowercase(), "localhost".to_owned()]);
        profile.addresses = config.addresses.iter().copied().collect();
        profile.addresses.extend([IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]);
    }
    Profile { usage, ..profile }
}

#[cfg(test)]
mod tests;
