//! Who asks.

use std::sync::Arc;

use http::request::Parts;
use orlop_api::status::StatusError;
use orlop_client::transport::UserInfo;

use crate::Server;
use crate::auth::Peer;

impl Server {
    /// The caller, or 401.
    pub(super) async fn identify(&self, head: &Parts) -> Result<Arc<UserInfo>, StatusError> {
        let none = Peer::default();
        let peer = head.extensions.get::<Peer>().unwrap_or(&none);
        if let Some(component) = &peer.component {
            return Ok(component.clone());
        }
        for authenticator in &self.authenticators {
            if let Some(user) = authenticator.authenticate(peer, head).await? {
                return Ok(Arc::new(user));
            }
        }
        Err(StatusError::unauthorized())
    }
}
