//! The seams of authentication and authorization. Implementations live below this module.

use futures_util::future::BoxFuture;
use orlop_api::status::StatusError;
use orlop_client::transport::UserInfo;

use crate::request::RequestInfo;

/// What the connection itself proved, put into every request's extensions by the listener.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    pub address: Option<std::net::SocketAddr>,
    /// DER of the client certificate chain as presented, leaf first; empty without one. The handshake
    /// proves only that the client holds its key; authentication verifies who vouches for it.
    pub certificates: std::sync::Arc<Vec<Vec<u8>>>,
    /// Set by the in-process transport only: the caller is this component.
    pub component: Option<std::sync::Arc<UserInfo>>,
}

/// Finds out who is asking.
pub trait Authenticator: Send + Sync + 'static {
    /// `Ok(None)`: no credentials of this kind; `Err`: credentials that are wrong (401).
    fn authenticate<'a>(
        &'a self,
        peer: &'a Peer,
        request: &'a http::request::Parts,
    ) -> BoxFuture<'a, Result<Option<UserInfo>, StatusError>>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow {
        reason: String,
    },
    Deny {
        reason: String,
    },
    NoOpinion {
        reason: String,
    },
    /// Somebody who was asked could not say: a 500, and nobody allowed it. `denied`: because of that.
    Failed {
        denied: bool,
        reason: String,
        error: String,
    },
}

/// Decides whether `user` may do what `request` describes. Must be cheap: called on every request.
pub trait Authorizer: Send + Sync + 'static {
    fn authorize<'a>(&'a self, user: &'a UserInfo, request: &'a RequestInfo) -> BoxFuture<'a, Decision>;
}
