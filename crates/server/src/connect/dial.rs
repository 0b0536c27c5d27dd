//! One HTTP/1.1 connection per request: upgrades need their own, and the rest is rare.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use orlop_client::streams::Connection;
use orlop_client::transport::{Body, BoxError};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::observe::Sending;

/// As Go's default dialer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub encrypted: bool,
    /// Name or address, without brackets.
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The other end did not answer. Prints as Go's net package does, which users know.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("dial tcp {target}: {}", words(source))]
    Connect { target: Target, source: io::Error },
    #[error("dial tcp {0}: i/o timeout")]
    Timeout(Target),
    #[error("tls: {}", orlop_base::error::chain(.0))]
    Tls(io::Error),
    #[error("{0}")]
    Name(String),
    #[error("{}", orlop_base::error::chain(.0))]
    Http(#[from] hyper::Error),
}

/// `connect: connection refused` for `Connection refused (os error 111)`.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match (text.split_once(" (os error"), error.raw_os_error()) {
        (Some((words, _)), Some(_)) => format!("connect: {}", words.to_lowercase()),
        _ => text,
    }
}

/// Opens connections with one TLS configuration.
#[derive(Clone)]
pub(super) struct Dialer {
    tls: Arc<ClientConfig>,
    /// What the certificates of the other end name, where that is not its address.
    name: Option<Arc<str>>,
    /// Whether the other end learns of traces: an API server or a webhook, no pod.
    tells_of_traces: bool,
}

impl Dialer {
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls, name: None, tells_of_traces: false }
    }

    pub fn named(tls: Arc<ClientConfig>, name: &str) -> Self {
        Self { tls, name: Some(name.into()), tells_of_traces: false }
    }

    pub fn telling_of_traces(self) -> Self {
        Self { tells_of_traces: true, ..self }
    }

    /// Sends a request and returns the answer, its body streaming. An upgraded answer carries its
    /// connection in its extensions.
    pub async fn send(&self, target: &Target, mut request: Request<Body>) -> Result<Response<Body>, DialError> {
        let host = self.name.as_deref().unwrap_or(&target.host);
        let sending = self.tells_of_traces.then(|| Sending::begin(&mut request, host, target.port)).flatten();
        match (self.exchange(target, request).await, sending) {
            (Ok(response), Some(sending)) => Ok(sending.answered(response)),
            (Err(error), Some(sending)) => {
                sending.failed();
                Err(error)
            }
            (result, None) => result,
        }
    }

    async fn exchange(&self, target: &Target, request: Request<Body>) -> Result<Response<Body>, DialError> {
        let io = TokioIo::new(self.open(target).await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        // Ends with the answer's body, or with the upgraded connection.
        orlop_base::task::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(error = %orlop_base::error::chain(&error), "proxied connection ended");
            }
        });
        let response = sender.send_request(request).await?;
        Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync()))
    }

    async fn open(&self, target: &Target) -> Result<Connection, DialError> {
        let connect = TcpStream::connect((target.host.as_str(), target.port));
        let socket = match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(source)) => return Err(DialError::Connect { target: target.clone(), source }),
            Err(_) => return Err(DialError::Timeout(target.clone())),
        };
        // Keystrokes and prompts are small and must not wait for company.
        socket.set_nodelay(true).map_err(|source| DialError::Connect { target: target.clone(), source })?;
        if !target.encrypted {
            return Ok(Box::new(socket));
        }
        let name = self.name.as_deref().unwrap_or(&target.host);
        let name = ServerName::try_from(name.to_owned()).map_err(|error| DialError::Name(error.to_string()))?;
        let handshake = TlsConnector::from(self.tls.clone()).connect(name, socket);
        match tokio::time::timeout(CONNECT_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(DialError::Tls(error)),
            Err(_) => Err(DialError::Timeout(target.clone())),
        }
    }
}
