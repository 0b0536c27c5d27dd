//! Where the server is and how to be let in: kubeconfig files and the in-cluster environment.

mod kubeconfig;
mod tls;

use std::path::{Path, PathBuf};

pub use kubeconfig::{Choice, Kubeconfig};
pub use tls::{TrustAnyone, client_tls};

/// Why no usable configuration came about.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("reading {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("error loading config file \"{}\"", path.display())]
    Yaml {
        path: PathBuf,
        #[source]
        source: orlop_api::codec::yaml::YamlError,
    },
    #[error("error loading config file \"{}\"", path.display())]
    Shape {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// kubectl's words: `context "x" does not exist`.
    #[error("{what} {name:?} does not exist")]
    Missing { what: &'static str, name: String },
    #[error("invalid configuration: no configuration has been provided, try setting KUBECONFIG")]
    Empty,
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("setting up TLS")]
    Tls(#[from] rustls::Error),
}

/// Everything needed to reach one API server as one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `https://host:port`, perhaps with a path in front of all paths.
    pub server: String,
    /// The context's; empty: `default`.
    pub namespace: String,
    /// PEM; `None`: the system's.
    pub certificate_authority: Option<Vec<u8>>,
    /// PEM chain and key.
    pub client_certificate: Option<(Vec<u8>, Vec<u8>)>,
    pub auth: Auth,
    pub insecure_skip_tls_verify: bool,
    /// Checked instead of the host in `server`.
    pub tls_server_name: Option<String>,
    pub impersonate: Option<Impersonate>,
}

/// What goes into `Authorization`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    #[default]
    None,
    Token(String),
    /// Read again from time to time: bound tokens are rotated.
    TokenFile(PathBuf),
    Basic {
        username: String,
        password: String,
    },
}

/// Act as somebody else (`Impersonate-*` headers).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impersonate {
    pub user: String,
    pub uid: String,
    pub groups: Vec<String>,
}

/// Where a pod finds its credentials.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

impl Config {
    /// As kubectl finds it: `explicit` alone, else the files of `KUBECONFIG`, else
    /// `~/.kube/config`; without any of them the environment of a pod.
    pub fn load(explicit: Option<&Path>, choice: &Choice) -> Result<Self, ConfigError> {
        let kubeconfig = Kubeconfig::load(explicit)?;
        if kubeconfig.is_empty() && explicit.is_none() {
            return match Self::in_cluster() {
                Some(config) => Ok(config),
                None if choice.server.is_some() => kubeconfig.resolve(choice),
                None => Err(ConfigError::Empty),
            };
        }
        kubeconfig.resolve(choice)
    }

    /// The credentials mounted into a pod, if this is one.
    pub fn in_cluster() -> Option<Self> {
        let host = std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
        let port = std::env::var("KUBERNETES_SERVICE_PORT").ok()?;
        let read = |name: &str| std::fs::read(Path::new(SERVICE_ACCOUNT).join(name)).ok();
        let token_file = Path::new(SERVICE_ACCOUNT).join("token");
        if !token_file.exists() {
            return None;
        }
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Some(Self {
            server: format!("https://{host}:{port}"),
            namespace: read("namespace").map(|b| String::from_utf8_lossy(&b).trim().to_owned()).unwrap_or_default(),
            certificate_authority: read("ca.crt"),
            auth: Auth::TokenFile(token_file),
            ..Self::default()
        })
    }
}
