//! The leanest client there is: it shares the machine's cores with the server it measures.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use orlop_client::config::{Config, client_tls};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// A TLS connection, one request at a time. Over HTTP/2 a clone shares it.
pub struct Connection {
    sender: Sender,
    host: String,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// One request.
pub struct Call {
    pub method: Method,
    /// With its query.
    pub path: String,
    pub accept: &'static str,
    /// Of the body, where there is one.
    pub content_type: &'static str,
    pub body: Bytes,
}

pub const JSON: &str = "application/json";

impl Call {
    pub fn get(path: impl Into<String>) -> Self {
        Self::with_body(Method::GET, path, Bytes::new())
    }

    pub fn post(path: impl Into<String>, body: Bytes) -> Self {
        Self::with_body(Method::POST, path, body)
    }

    pub fn with_body(method: Method, path: impl Into<String>, body: Bytes) -> Self {
        Self { method, path: path.into(), accept: JSON, content_type: JSON, body }
    }
}

pub struct Answer {
    pub status: StatusCode,
    /// Counted, not kept.
    pub bytes: usize,
}

impl Connection {
    pub async fn open(config: &Config) -> Result<Self> {
        let (stream, host) = connect(config, Protocol::Http1).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the sender is dropped; a failure shows at the sender.
        tokio::spawn(connection);
        Ok(Self { sender: Sender::Http1(sender), host })
    }

    /// `count` clients: each with a connection of its own over HTTP/1.1, all on one over HTTP/2.
    pub async fn several(config: &Config, protocol: Protocol, count: usize) -> Result<Vec<Self>> {
        if protocol == Protocol::Http1 {
            return futures_util::future::try_join_all((0..count).map(|_| Self::open(config))).await;
        }
        let (stream, host) = connect(config, Protocol::Http2).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok((0..count).map(|_| Self { sender: Sender::Http2(sender.clone()), host: host.clone() }).collect())
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.answer(Call::get(path)).await
    }

    pub async fn post(&mut self, path: &str, body: Bytes) -> Result<Answer> {
        self.answer(Call::post(path, body)).await
    }

    pub async fn answer(&mut self, call: Call) -> Result<Answer> {
        let response = self.send(call).await?;
        let status = response.status();
        Ok(Answer { status, bytes: drain(response.into_body()).await? })
    }

    /// The whole body of an answer that must be a success.
    pub async fn fetch(&mut self, call: Call) -> Result<Bytes> {
        let asked = format!("{} {}", call.method, call.path);
        let response = self.send(call).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("{asked}: {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }

    /// An answer's head, with a body that is still to come.
    pub async fn send(&mut self, call: Call) -> Result<Response<Incoming>> {
        let mut request = Request::builder().method(call.method).header(header::ACCEPT, call.accept);
        if !call.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, call.content_type);
        }
        let path = call.path;
        Ok(match &mut self.sender {
            Sender::Http1(sender) => {
                let request = request.uri(path).header(header::HOST, &self.host).body(Full::new(call.body))?;
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                let request = request.uri(format!("https://{}{path}", self.host)).body(Full::new(call.body))?;
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }
}

async fn drain(mut body: Incoming) -> Result<usize> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(bytes)
}

/// A TLS stream that speaks `protocol`, and whom it reaches.
pub async fn connect(config: &Config, protocol: Protocol) -> Result<(TlsStream<TcpStream>, String)> {
    let host = config.server.strip_prefix("https://").context("the kubeconfig's server is not https")?.to_owned();
    let mut tls = client_tls(config)?;
    let name: &[u8] = if protocol == Protocol::Http1 { b"http/1.1" } else { b"h2" };
    tls.alpn_protocols = vec![name.to_vec()];
    let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name).to_owned();
    let stream = TcpStream::connect(&host).await?;
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(name)?, stream).await?;
    Ok((stream, host))
}
