//! `--encryption-provider-config`, under kube-apiserver's names.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use orlop_base::task::boxed;
use orlop_server::encryption::Encryption;
use orlop_server::health::Check;
use orlop_store::{Config, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Encryption at rest")]
pub struct Arguments {
    /// How objects are encrypted on disk: an apiserver.config.k8s.io/v1 EncryptionConfiguration
    #[arg(long, value_name = "FILE")]
    encryption_provider_config: Option<PathBuf>,
    /// Read that file again whenever it changes
    #[arg(long, requires = "encryption_provider_config")]
    encryption_provider_config_automatic_reload: bool,
}

impl Arguments {
    pub fn load(&self) -> Result<Option<Arc<Encryption>>> {
        let load = |path| Encryption::load(path).context("loading the encryption configuration");
        self.encryption_provider_config.as_deref().map(load).transpose()
    }

    /// The store's configuration, with what the file says.
    pub fn apply(encryption: Option<&Arc<Encryption>>, config: Config) -> Config {
        match encryption {
            Some(encryption) => config.with_transformer(encryption.clone()),
            None => config,
        }
    }

    /// Whether keys can be had.
    pub fn health_check(&self, encryption: Option<&Arc<Encryption>>) -> Option<Check> {
        encryption?.health_check(self.encryption_provider_config_automatic_reload)
    }

    /// Follows the file, if that is wanted, and reads again what could not be read once it can be.
    pub fn follow(
        &self,
        encryption: Option<Arc<Encryption>>,
        store: &Store,
        shutdown: &CancellationToken,
        tasks: &TaskTracker,
    ) {
        let Some(encryption) = encryption else { return };
        tasks.spawn(boxed(reread(encryption.recoveries(), store.clone(), shutdown.clone())));
        if !self.encryption_provider_config_automatic_reload {
            return;
        }
        let stop = shutdown.clone();
        tasks.spawn(boxed(async move {
            if let Some(Err(error)) = stop.run_until_cancelled(encryption.follow()).await {
                tracing::error!(%error, "the encryption configuration is not followed any more");
            }
        }));
    }
}

async fn reread(mut recoveries: watch::Receiver<u64>, store: Store, stop: CancellationToken) {
    loop {
        let read = store.reread().await;
        if read > 0 {
            tracing::info!(objects = read, "what could not be read is read again");
        }
        if !matches!(stop.run_until_cancelled(recoveries.changed()).await, Some(Ok(()))) {
            return;
        }
    }
}
