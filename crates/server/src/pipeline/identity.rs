//! Who asks.

use std::sync::Arc;

use http::request::Parts;
use orlop_api::status::StatusError;
use orlop_client::transport::UserInfo;
use tokio::time::Instant;

use crate::Server;
use crate::auth::Peer;
use crate::authn::metrics::METRICS;

impl Server {
    /// The caller, or 401.
    pub(super) async fn identify(&self, head: &Parts) -> Result<Arc<UserInfo>, StatusError> {
        let none = Peer::default();
        let peer = head.extensions.get::<Peer>().unwrap_or(&none);
        if let Some(component) = &peer.component {
            return Ok(component.clone());
        }
        let began = Instant::now();
        let found = self.find_caller(peer, head).await;
        let known = found.as_ref().map(|found| found.as_ref().map(|user| &*user.name)).map_err(drop);
        METRICS.attempt(known, began.elapsed());
        found?.map(Arc::new).ok_or_else(StatusError::unauthorized)
    }

    async fn find_caller(&self, peer: &Peer, head: &Parts) -> Result<Option<UserInfo>, StatusError> {
        for authenticator in &self.authenticators {
            if let Some(user) = authenticator.authenticate(peer, head).await? {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }
}
