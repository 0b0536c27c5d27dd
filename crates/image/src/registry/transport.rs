//! HTTP/1.1 to registries: connections kept for the next request, redirects left to the caller.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::hosts::{HostTls, Remote};
use super::proxy::{self, Proxy};
use super::tls;
use crate::ImageError;

/// Connecting, and waiting for an answer's head.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// A body that stands still for so long counts as a broken connection.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Idle connections kept per host; a pull uses few at once.
const IDLE_MAX: usize = 4;
const USER_AGENT: &str = concat!("orlop/", env!("CARGO_PKG_VERSION"));

pub type Body = BoxBody<Bytes, std::convert::Infallible>;
type Connection = SendRequest<Body>;

/// What went wrong below HTTP: worth another try, here or elsewhere.
#[derive(Debug)]
pub struct Broken(pub String);

#[derive(Default)]
pub struct Http {
    idle: Mutex<BTreeMap<String, Vec<Connection>>>,
    tls: Mutex<BTreeMap<HostTls, Arc<ClientConfig>>>,
    proxy: Proxy,
}

/// An answer whose body has yet to be read.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Incoming,
    connection: Option<Connection>,
    key: String,
}

impl Http {
    pub fn new() -> Self {
        Self { proxy: Proxy::from_environment(), ..Self::default() }
    }

    /// Sends a request whose URI is a path; an error means that no answer came.
    pub async fn send(
        &self,
        remote: &Remote,
        tls: &HostTls,
        mut request: Request<Body>,
    ) -> Result<Result<Answer, Broken>, ImageError> {
        let key = format!("{}://{}", if remote.https { "https" } else { "http" }, remote.authority());
        let headers = request.headers_mut();
        let value = |text: &str| http::HeaderValue::from_str(text).map_err(|e| ImageError::Registry(e.to_string()));
        headers.insert(http::header::HOST, value(&remote.authority())?);
        headers.insert(http::header::USER_AGENT, value(USER_AGENT)?);
        let mut connection = match self.reuse(&key) {
            Some(connection) => connection,
            None => match self.connect(remote, tls).await? {
                Ok(connection) => connection,
                Err(broken) => return Ok(Err(broken)),
            },
        };
        let sent = tokio::time::timeout(HEAD_TIMEOUT, connection.send_request(request)).await;
        let response: Response<Incoming> = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Ok(Err(Broken(orlop_base::error::chain(&error)))),
            Err(_) => return Ok(Err(Broken("no answer in time".into()))),
        };
        let (parts, body) = response.into_parts();
        Ok(Ok(Answer { status: parts.status, headers: parts.headers, body, connection: Some(connection), key }))
    }

    /// Reads a whole small body and keeps the connection.
    pub async fn read(&self, mut answer: Answer, limit: usize) -> Result<Vec<u8>, Broken> {
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if bytes.len() + chunk.len() > limit {
                return Err(Broken(format!("answer is larger than {limit} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        self.keep(answer);
        Ok(bytes)
    }

    /// Keeps the connection of an answer that was read to its end.
    pub fn keep(&self, answer: Answer) {
        let Some(connection) = answer.connection else { return };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = idle.entry(answer.key).or_default();
        if idle.len() < IDLE_MAX && !connection.is_closed() {
            idle.push(connection);
        }
    }

    fn reuse(&self, key: &str) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = idle.get_mut(key)?;
        while let Some(connection) = idle.pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self, remote: &Remote, tls: &HostTls) -> Result<Result<Connection, Broken>, ImageError> {
        let tls = if remote.https { Some(self.tls_config(tls)?) } else { None };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.open(remote, tls)).await;
        Ok(match connected {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(Broken(orlop_base::error::chain(&error))),
            Err(_) => Err(Broken("connecting took too long".into())),
        })
    }

    async fn open(&self, remote: &Remote, tls: Option<Arc<ClientConfig>>) -> io::Result<Connection> {
        let stream = match self.proxy.of(remote) {
            Some(proxy) => proxy::tunnel(proxy, remote).await?,
            None => TcpStream::connect((remote.host.as_str(), remote.port)).await?,
        };
        stream.set_nodelay(true)?;
        let Some(tls) = tls else { return handshake(stream).await };
        let name = ServerName::try_from(remote.host.clone()).map_err(io::Error::other)?;
        handshake(TlsConnector::from(tls).connect(name, stream).await?).await
    }

    fn tls_config(&self, tls: &HostTls) -> Result<Arc<ClientConfig>, ImageError> {
        let mut known = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = known.get(tls) {
            return Ok(config.clone());
        }
        let config = tls::client_config(tls)?;
        known.insert(tls.clone(), config.clone());
        Ok(config)
    }
}

impl Answer {
    /// The next bytes of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            let frame = match tokio::time::timeout(STALL_TIMEOUT, self.body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(Broken(orlop_base::error::chain(&error))),
                Ok(None) => return Ok(None),
                Err(_) => return Err(Broken("the transfer stands still".into())),
            };
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
    }

    pub fn header(&self, name: &http::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

async fn handshake(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
) -> io::Result<Connection> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends when the sender is dropped or the other side closes.
    orlop_base::task::spawn(connection);
    Ok(sender)
}

pub fn empty() -> Body {
    Empty::new().boxed()
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}
