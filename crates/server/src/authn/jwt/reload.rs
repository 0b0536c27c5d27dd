//! The issuers follow their file (`pkg/controlplane/apiserver/config.go`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Configuration, Issuers, config, discover, open};
use crate::review::metrics::AUTHENTICATION;
use crate::review::watched::WatchedFile;

/// How long new issuers may take to answer before a change is dropped.
const PATIENCE: Duration = Duration::from_mins(1);

/// A configuration read from a file, and what it must fit.
pub struct JwtReload {
    path: PathBuf,
    text: Vec<u8>,
    algorithms: Vec<String>,
    /// Issuers of ServiceAccount tokens.
    disallowed: Vec<String>,
    config: Configuration,
}

impl JwtReload {
    pub fn read(path: &Path, algorithms: &[String], disallowed: &[String]) -> Result<Self, String> {
        let failed = |why: String| {
            format!("failed to load authentication configuration from file {:?}: {why}", path.display().to_string())
        };
        let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let config = config::load(&text, disallowed).map_err(failed)?;
        let (algorithms, disallowed) = (algorithms.to_vec(), disallowed.to_vec());
        Ok(Self { path: path.to_owned(), text, algorithms, disallowed, config })
    }

    pub fn config(&self) -> &Configuration {
        &self.config
    }

    /// Takes over every good change, for as long as it is polled.
    pub async fn run(&self, issuers: &Issuers) {
        AUTHENTICATION.started(&self.text);
        if let Err(error) = self.follow(issuers).await {
            tracing::error!(%error, path = %self.path.display(), "watching authentication config file");
        }
    }

    async fn follow(&self, issuers: &Issuers) -> std::io::Result<()> {
        let mut file = WatchedFile::new(&self.path, self.text.clone())?;
        loop {
            let text = file.changed().await?;
            match self.take(&text, issuers).await {
                Ok(()) => {
                    AUTHENTICATION.succeeded(&text);
                    tracing::info!("reloaded authentication config");
                }
                Err(error) => {
                    AUTHENTICATION.failed();
                    tracing::error!(error, "reloading authentication config");
                }
            }
        }
    }

    async fn take(&self, text: &[u8], issuers: &Issuers) -> Result<(), String> {
        let config = config::load(text, &self.disallowed)?;
        if config.anonymous != self.config.anonymous {
            return Err("anonymous: Forbidden: changed from initial configuration file".into());
        }
        let new = open(&config, &self.algorithms);
        let answered = tokio::time::timeout(PATIENCE, discover(&new)).await;
        answered.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()))?;
        issuers.list.store(Arc::new(new));
        Ok(())
    }
}
