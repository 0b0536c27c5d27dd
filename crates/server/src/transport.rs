//! The in-process way into the server.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Request, Response};
use orlop_client::transport::{Body, BoxError, Transport, UserInfo};

use crate::Server;
use crate::auth::Peer;
use crate::authn::authenticated;

/// Sends requests as one component, past TLS but through everything else.
#[derive(Clone)]
pub struct Component {
    server: Arc<Server>,
    peer: Peer,
}

impl Component {
    /// Whoever is a component is authenticated: what every authenticated user may do, it may.
    pub(crate) fn new(server: Arc<Server>, user: UserInfo) -> Self {
        let user = Arc::new(authenticated(user));
        Self { server, peer: Peer { component: Some(user), ..Peer::default() } }
    }
}

impl Transport for Component {
    fn send(&self, mut request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>> {
        let server = self.server.clone();
        request.extensions_mut().insert(self.peer.clone());
        Box::pin(async move { Ok(server.handle(request).await) })
    }
}
