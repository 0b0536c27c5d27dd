//! The leanest client there is: it shares the machine's cores with the server it measures.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use orlop_client::config::{Config, client_tls};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// One TLS connection, HTTP/1.1, one request at a time.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    host: String,
}

pub struct Answer {
    pub status: StatusCode,
    /// Counted, not kept.
    pub bytes: usize,
}

impl Connection {
    pub async fn open(config: &Config) -> Result<Self> {
        let host = config.server.strip_prefix("https://").context("the kubeconfig's server is not https")?.to_owned();
        let mut tls = client_tls(config)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name).to_owned();
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(name)?, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the sender is dropped; a failure shows at the sender.
        tokio::spawn(connection);
        Ok(Self { sender, host })
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    pub async fn post(&mut self, path: &str, body: Bytes) -> Result<Answer> {
        self.send(Method::POST, path, body).await
    }

    async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Answer> {
        let request = Request::builder().method(method).uri(path).header(header::HOST, &self.host);
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Full::new(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let (mut body, mut bytes) = (response.into_body(), 0);
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(Answer { status, bytes })
    }
}
