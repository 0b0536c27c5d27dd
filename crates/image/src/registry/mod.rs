//! Pulling from registries (OCI distribution specification 1.1).

mod auth;
mod blob;
mod fetch;
mod hosts;

mod proxy;
mod pull;
mod tls;
mod transport;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

pub use hosts::{HostAuth, HostConfig, HostTls, Hosts, Mirror};

use crate::reference::Reference;
use crate::store::Local;
use crate::{Credentials, ImageError, Progress};

type Outcome = Option<Result<String, Arc<ImageError>>>;

/// Pulls images; several that want the same one share the work.
pub struct Puller {
    context: Arc<pull::Context>,
    flights: Arc<Mutex<BTreeMap<Key, watch::Receiver<Outcome>>>>,
}

/// What makes two pulls the same: who may see an image is the registry's decision, for each anew.
type Key = (String, Vec<(String, String, String)>);

impl Puller {
    pub fn new(local: Arc<Local>, hosts: Hosts) -> Self {
        let context = Arc::new(pull::Context { local, hosts, http: transport::Http::new() });
        Self { context, flights: Arc::default() }
    }

    /// Brings the image here and returns its id.
    pub async fn pull(
        &self,
        reference: &Reference,
        credentials: &[Credentials],
        progress: Option<Progress>,
    ) -> Result<String, ImageError> {
        let mut flight = self.join(reference, credentials, progress);
        let landed = flight.wait_for(Option::is_some).await;
        match landed.ok().and_then(|outcome| outcome.clone()) {
            Some(Ok(id)) => Ok(id),
            Some(Err(error)) => Err(again(&error)),
            None => Err(ImageError::Registry(format!("{reference}: the pull ended unexpectedly"))),
        }
    }

    /// The pull under way, or a new one. It runs on its own: one that no longer waits must not stop it for
    /// the others.
    fn join(
        &self,
        reference: &Reference,
        credentials: &[Credentials],
        progress: Option<Progress>,
    ) -> watch::Receiver<Outcome> {
        let secrets = |c: &Credentials| (c.username.clone(), c.password.clone(), c.identity_token.clone());
        let key: Key = (reference.to_string(), credentials.iter().map(secrets).collect());
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key) {
            return flight.clone();
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(key.clone(), receiver.clone());
        let (context, all) = (self.context.clone(), self.flights.clone());
        let (reference, credentials) = (reference.clone(), credentials.to_vec());
        orlop_base::task::spawn(async move {
            let outcome = pull::pull(&context, &reference, &credentials, progress).await;
            all.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            let _ = sender.send(Some(outcome.map_err(Arc::new)));
        });
        receiver
    }
}

/// The same error for another waiter.
fn again(error: &ImageError) -> ImageError {
    match error {
        ImageError::InvalidName { reference, why } => {
            ImageError::InvalidName { reference: reference.clone(), why: why.clone() }
        }
        ImageError::NotFound(text) => ImageError::NotFound(text.clone()),
        ImageError::Unauthorized(text) => ImageError::Unauthorized(text.clone()),
        ImageError::Registry(text) => ImageError::Registry(text.clone()),
        ImageError::Digest { want, got } => ImageError::Digest { want: want.clone(), got: got.clone() },
        ImageError::Malformed(text) => ImageError::Malformed(text.clone()),
        ImageError::Io { doing, source } => {
            let source = std::io::Error::new(source.kind(), source.to_string());
            ImageError::Io { doing: doing.clone(), source }
        }
    }
}

#[cfg(test)]
mod tests;
