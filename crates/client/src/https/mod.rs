//! The transport to a server on the other side of a network: HTTP/2 over TLS, shared by all
//! requests; HTTP/1.1 for upgrades and for servers that speak nothing else.

mod connect;
mod credentials;
mod pool;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, UPGRADE};
use http::{Request, Response, Uri, uri};

use crate::config::{Config, ConfigError, client_tls};
use crate::transport::{Body, BoxError, NotSent, Transport};
use credentials::Credentials;
use pool::Pool;

/// One server, one user. Clones share connections.
#[derive(Clone)]
pub struct Https(Arc<Shared>);

struct Shared {
    scheme: uri::Scheme,
    authority: uri::Authority,
    /// In front of every path; empty mostly.
    prefix: String,
    credentials: Credentials,
    impersonation: Vec<(HeaderName, HeaderValue)>,
    pool: Pool,
}

impl Https {
    /// Connects when first used.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        Self::with_tls(config, client_tls(config)?)
    }

    /// With TLS of the caller's making, for example with a certificate that it renews.
    pub fn with_tls(config: &Config, tls: rustls::ClientConfig) -> Result<Self, ConfigError> {
        let invalid = |problem: String| ConfigError::Invalid { field: "server", problem };
        let text =
            if config.server.contains("://") { config.server.clone() } else { format!("http://{}", config.server) };
        let uri: Uri = text.parse().map_err(|e: uri::InvalidUri| invalid(e.to_string()))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(invalid(format!("{text} has no host")));
        };
        let prefix = parts.path_and_query.map(|p| p.path().trim_end_matches('/').to_owned()).unwrap_or_default();
        let encrypted = scheme == uri::Scheme::HTTPS;
        let server_name = config.tls_server_name.as_deref();
        let pool = Pool::new(connect::Target::new(&authority, encrypted.then_some(tls), server_name).map_err(invalid)?);
        Ok(Self(Arc::new(Shared {
            scheme,
            authority,
            prefix,
            credentials: Credentials::new(&config.auth)?,
            impersonation: credentials::impersonation(config)?,
            pool,
        })))
    }

    /// Uses `tls` for connections made from now on; requests under way finish on the old ones.
    pub fn set_tls(&self, tls: &rustls::ClientConfig) {
        self.0.pool.set_tls(tls);
    }
}

impl Transport for Https {
    fn send(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>> {
        let shared = self.0.clone();
        Box::pin(async move {
            let request = shared.address(request).await?;
            if request.headers().contains_key(UPGRADE) {
                shared.pool.send_upgrade(request).await
            } else {
                shared.pool.send(request).await
            }
        })
    }
}

impl Shared {
    async fn address(&self, mut request: Request<Body>) -> Result<Request<Body>, BoxError> {
        let path = request.uri().path_and_query().map_or("/", uri::PathAndQuery::as_str);
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.prefix))
            .build();
        *request.uri_mut() = uri.map_err(|e| NotSent(e.into()))?;
        let headers = request.headers_mut();
        if let Some(value) = self.credentials.header().await.map_err(NotSent)? {
            headers.entry(AUTHORIZATION).or_insert(value);
        }
        for (name, value) in &self.impersonation {
            headers.append(name, value.clone());
        }
        if let Ok(host) = HeaderValue::from_str(self.authority.as_str()) {
            headers.entry(HOST).or_insert(host);
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests;
