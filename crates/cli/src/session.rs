//! One invocation's way to the server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use http_body_util::BodyExt;
use orlop_client::config::{Choice, Config};
use orlop_client::https::Https;
use orlop_client::transport::Transport;
use orlop_client::{Client, Dynamic, Resource};
use serde_json::Value;

use crate::resources::Catalogue;

/// Where `orlop server` leaves the administrator's kubeconfig.
const ADMIN_KUBECONFIG: &str = "/var/lib/orlop/admin.kubeconfig";

/// Flags that every verb takes.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Path of the kubeconfig file
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig to use
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// Address and port of the API server
    #[arg(short, long, global = true)]
    pub server: Option<String>,
    /// Namespace of the request
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
}

/// A connection with a namespace and what the server serves.
pub struct Session {
    pub client: Client,
    pub transport: Arc<dyn Transport>,
    pub namespace: String,
    catalogue: tokio::sync::OnceCell<Catalogue>,
}

impl Session {
    pub fn open(global: &Global) -> Result<Self> {
        let choice = Choice {
            context: global.context.clone(),
            server: global.server.clone(),
            namespace: global.namespace.clone(),
            ..Choice::default()
        };
        let config = Config::load(kubeconfig(global).as_deref(), &choice).context("reading the kubeconfig")?;
        let https = Https::new(&config).context("using the kubeconfig")?;
        let namespace = if config.namespace.is_empty() { "default".to_owned() } else { config.namespace };
        let transport: Arc<dyn Transport> = Arc::new(https);
        let client = Client::new(transport.clone(), "kubectl/v1.37.0 (orlop)");
        Ok(Self { client, transport, namespace, catalogue: tokio::sync::OnceCell::new() })
    }

    /// What the server serves, asked once.
    pub async fn catalogue(&self) -> Result<&Catalogue> {
        self.catalogue.get_or_try_init(|| Catalogue::load(&self.client)).await
    }

    pub fn api(&self, resource: &Resource, namespace: &str) -> orlop_client::Api<Dynamic> {
        self.client.dynamic(resource, if resource.namespaced { namespace } else { "" })
    }

    /// GET of a path with this `Accept`, as a value.
    pub async fn fetch(&self, path: &str, accept: &str) -> Result<Value> {
        let response = self.client.stream(http::Method::GET, path, accept).await?;
        let bytes = response.into_body().collect().await.map_err(|e| anyhow::anyhow!("{e}"))?.to_bytes();
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// The file named, else what kubectl would take, else the administrator's on this machine.
fn kubeconfig(global: &Global) -> Option<PathBuf> {
    if global.kubeconfig.is_some() {
        return global.kubeconfig.clone();
    }
    let usual = std::env::var_os("KUBECONFIG").is_some()
        || std::env::var_os("HOME").is_some_and(|home| Path::new(&home).join(".kube/config").exists());
    let admin = Path::new(ADMIN_KUBECONFIG);
    (!usual && admin.exists()).then(|| admin.to_owned())
}

/// The server said that there is no such object.
pub fn is_not_found(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(orlop_client::Error::Status(status)) if status.is_not_found())
}

/// `key=value&...` of what is given, percent-encoded.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        text.bytes()
            .map(|b| match b {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
                _ => format!("%{b:02X}"),
            })
            .collect()
    };
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(key, value)| format!("{key}={}", encode(value))).collect::<Vec<_>>().join("&")
}

/// `path?query`, without the mark when there is no query.
pub fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let query = query(pairs);
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}
