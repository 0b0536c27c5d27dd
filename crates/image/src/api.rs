//! What a node agent asks of the image store.

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::future::BoxFuture;

/// Registry credentials for one pull, already chosen for the reference by the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
    /// A bearer token to present as it is.
    pub identity_token: String,
}

/// An image that is whole and unpacked on this node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// Digest of the image config, `sha256:...`: the image's identity on the node.
    pub id: String,
    /// `docker.io/library/nginx:1.27`.
    pub repo_tags: Vec<String>,
    /// `docker.io/library/nginx@sha256:...`.
    pub repo_digests: Vec<String>,
    pub size_bytes: u64,
    /// Unpacked layers, topmost first.
    pub layers: Vec<PathBuf>,
    pub config: ImageConfig,
}

/// The part of the OCI image config that running it needs.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageConfig {
    pub user: String,
    pub env: Vec<String>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub working_dir: String,
    pub stop_signal: String,
    pub labels: BTreeMap<String, String>,
    /// Ports as `80/tcp`.
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// Declared volume paths.
    pub volumes: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Not a valid reference: the pod's container waits with `InvalidImageName`.
    #[error("couldn't parse image name \"{reference}\": {why}")]
    InvalidName { reference: String, why: String },
    #[error("{0}: not found")]
    NotFound(String),
    #[error("pull access denied or authorization failed: {0}")]
    Unauthorized(String),
    #[error("{0}")]
    Registry(String),
    #[error("digest mismatch: want {want}, got {got}")]
    Digest { want: String, got: String },
    #[error("{doing}: {source}")]
    Io {
        doing: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Malformed(String),
}

/// Bytes done and bytes in all, as they change during a pull or import.
pub type Progress = std::sync::Arc<dyn Fn(u64, u64) + Send + Sync>;

pub trait ImageService: Send + Sync + 'static {
    /// The local image behind a reference (tag, digest or id), if whole. Short names are
    /// normalised (`nginx` is `docker.io/library/nginx:latest`).
    fn get<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>, ImageError>>;
    fn list(&self) -> BoxFuture<'_, Result<Vec<Image>, ImageError>>;
    /// Fetches and unpacks; tries the credentials in order, then anonymously.
    fn pull<'a>(
        &'a self,
        reference: &'a str,
        credentials: &'a [Credentials],
    ) -> BoxFuture<'a, Result<Image, ImageError>>;
    fn remove<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<(), ImageError>>;
    /// Bytes and inodes that images use on their file system.
    fn disk_usage(&self) -> BoxFuture<'_, Result<(u64, u64), ImageError>>;
}
