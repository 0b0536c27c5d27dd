//! The one seam between a caller and an API server.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request or response body, whole or streaming.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Sends one request and returns the response head with a streaming body.
///
/// Paths are absolute (`/api/v1/pods?watch=true`); implementations add scheme, host and
/// credentials. Errors are transport failures only: an HTTP error status is an `Ok` response.
/// Upgrades: the response carries `hyper::upgrade::OnUpgrade` in its extensions, as hyper does.
pub trait Transport: Send + Sync + 'static {
    fn send(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>>;
}

impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn send(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>> {
        (**self).send(request)
    }
}

/// The transport error of a request that never left: sending it again is safe, whatever it does.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotSent(#[source] pub BoxError);

/// Who is asking, as authentication found it (`authentication.k8s.io/v1 UserInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    /// Sorted by key.
    pub extra: Vec<(String, Vec<String>)>,
}

/// A body of known bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    use http_body_util::BodyExt;
    http_body_util::Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
pub fn empty() -> Body {
    full(Bytes::new())
}
