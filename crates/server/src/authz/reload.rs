//! The chain follows its file (`pkg/kubeapiserver/authorizer/reload.go`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::abac::Policies;
use super::chain::Link;
use super::{Authorization, config};
use crate::review::metrics::AUTHORIZATION;
use crate::review::watched::WatchedFile;

/// A chain read from a file, and what must stay of it.
pub struct Reload {
    path: PathBuf,
    text: Vec<u8>,
    abac: Option<Arc<Policies>>,
    /// Modes in force at start; their state is made only then.
    modes: Vec<&'static str>,
}

impl Reload {
    pub fn read(path: &Path, abac: Option<Arc<Policies>>) -> Result<(Self, Vec<Link>), String> {
        let text = std::fs::read(path).map_err(|error| format!("open {}: {error}", path.display()))?;
        let chain = config::load(&text, abac.as_ref(), None)?;
        let modes = chain.iter().map(|link| link.mode.name()).filter(|name| *name != "Webhook").collect();
        Ok((Self { path: path.to_owned(), text, abac, modes }, chain))
    }

    /// Takes over every good change, for as long as it is polled.
    pub async fn run(&self, authorization: &Authorization) {
        AUTHORIZATION.started(&self.text);
        if let Err(error) = self.follow(authorization).await {
            tracing::error!(%error, path = %self.path.display(), "watching authorization config file");
        }
    }

    async fn follow(&self, authorization: &Authorization) -> std::io::Result<()> {
        let mut file = WatchedFile::new(&self.path, self.text.clone())?;
        loop {
            let text = file.changed().await?;
            match config::load(&text, self.abac.as_ref(), Some(&self.modes)) {
                Ok(chain) => {
                    authorization.set_chain(chain);
                    AUTHORIZATION.succeeded(&text);
                    tracing::info!("reloaded authz config");
                }
                Err(error) => {
                    AUTHORIZATION.failed();
                    tracing::error!(%error, "reloading authorization config");
                }
            }
        }
    }
}
