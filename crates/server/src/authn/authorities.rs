//! Who vouches for client certificates: our own authority, and those of a file that may change
//! (`k8s.io/apiserver/pkg/server/dynamiccertificates`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::danger::ClientCertVerifier;
use tokio::sync::watch;

use crate::pki::{Authority, PkiError, tls};
use crate::review::watched::WatchedFile;

/// Certificates of authorities, in PEM, as the file held them when it was read.
pub struct AuthorityFile {
    path: PathBuf,
    /// Upstream's name of the bundle.
    name: String,
    text: String,
}

impl AuthorityFile {
    /// `purpose` is upstream's: `client-ca-bundle`, `request-header`.
    pub fn read(purpose: &str, path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|error| format!("open {}: {error}", path.display()))?;
        let name = format!("{purpose}::{}", path.display());
        let text = checked(&name, &text)?;
        Ok(Self { path: path.to_owned(), name, text })
    }

    /// Takes over every good change, for as long as it is polled.
    pub async fn run(&self, authorities: &Authorities) {
        if let Err(error) = self.follow(authorities).await {
            tracing::error!(%error, name = self.name, "watching CA file");
        }
    }

    async fn follow(&self, authorities: &Authorities) -> std::io::Result<()> {
        let mut file = WatchedFile::new(&self.path, self.text.clone().into())?;
        loop {
            let text = file.changed().await?;
            match checked(&self.name, &text).and_then(|pem| authorities.replace(pem).map_err(|e| e.to_string())) {
                Ok(()) => tracing::info!(name = self.name, "loaded a new CA bundle and verifier"),
                Err(error) => tracing::error!(error, name = self.name, "reloading CA bundle"),
            }
        }
    }
}

fn checked(name: &str, text: &[u8]) -> Result<String, String> {
    if text.is_empty() {
        return Err(format!("missing content for CA bundle {name:?}"));
    }
    let failed = |why: &str| format!("error loading CA bundle for {name:?}: {why}");
    let text = std::str::from_utf8(text).map_err(|error| failed(&error.to_string()))?;
    match tls::certificates(text) {
        Ok(found) if found.is_empty() => Err(failed("data does not contain any valid RSA or ECDSA certificates")),
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(failed(&error.to_string())),
    }
}

/// Our own authority, and others that may be replaced.
pub struct Authorities {
    own: Arc<Authority>,
    current: ArcSwap<Current>,
    changes: watch::Sender<u64>,
}

struct Current {
    verifier: Arc<dyn ClientCertVerifier>,
    others: String,
}

impl Authorities {
    pub fn new(own: &Arc<Authority>, file: Option<&AuthorityFile>) -> Result<Self, PkiError> {
        let others = file.map_or_else(String::new, |file| file.text.clone());
        let verifier = tls::client_verifier(own, &others)?;
        let current = ArcSwap::from_pointee(Current { verifier, others });
        Ok(Self { own: own.clone(), current, changes: watch::Sender::new(0) })
    }

    fn replace(&self, others: String) -> Result<(), PkiError> {
        let verifier = tls::client_verifier(&self.own, &others)?;
        self.current.store(Arc::new(Current { verifier, others }));
        self.changes.send_modify(|generation| *generation += 1);
        Ok(())
    }

    pub fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        self.current.load().verifier.clone()
    }

    /// All of them, in PEM.
    pub fn pem(&self) -> String {
        format!("{}{}", self.own.pem(), self.current.load().others)
    }

    /// Grows with every change.
    pub fn generation(&self) -> u64 {
        *self.changes.borrow()
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
