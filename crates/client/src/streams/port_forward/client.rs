//! The asking side: what `kubectl port-forward` does.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use http::Method;
use tokio::io::AsyncReadExt;

use super::{PROTOCOL, TUNNEL_PROTOCOL, header};
use crate::streams::remote_command::client::{switched, upgrade_request};
use crate::streams::websocket::{self, Role};
use crate::streams::{Reader, StreamError, Writer, spdy, upgrade};
use crate::transport::Transport;

/// A session through which connections to a pod's ports are made.
#[derive(Debug)]
pub struct Forwarder {
    connection: spdy::Connection,
    requests: AtomicU64,
}

/// One forwarded connection.
pub struct Forwarded {
    pub from_pod: Reader,
    pub to_pod: Writer,
    /// Ends the connection, also while bytes are under way.
    pub reset: spdy::Reset,
    /// Resolves with why forwarding failed, or empty.
    pub error: BoxFuture<'static, String>,
}

/// Opens a session at `path` (`/api/v1/namespaces/x/pods/y/portforward`). The WebSocket tunnel
/// first; a server or proxy that refuses it is asked again with SPDY.
pub async fn connect(transport: &dyn Transport, path: &str) -> Result<Forwarder, StreamError> {
    let connection = match tunnel(transport, path).await {
        Err(StreamError::Upgrade(reason)) => {
            tracing::debug!(reason, "falling back to SPDY");
            let mut request = upgrade_request(Method::POST, path)?;
            spdy::handshake::ask(request.headers_mut(), &[PROTOCOL]);
            let response = switched(transport, request).await?;
            upgrade::connection(hyper::upgrade::on(response)).await?
        }
        result => result?,
    };
    let connection = spdy::Connection::start(connection, spdy::Role::Client);
    Ok(Forwarder { connection, requests: AtomicU64::new(0) })
}

async fn tunnel(transport: &dyn Transport, path: &str) -> Result<crate::streams::Connection, StreamError> {
    let (headers, key) = websocket::request_headers(&[TUNNEL_PROTOCOL]);
    let mut request = upgrade_request(Method::GET, path)?;
    request.headers_mut().extend(headers);
    let response = switched(transport, request).await?;
    if websocket::check_response(&response, &key)? != TUNNEL_PROTOCOL {
        return Err(StreamError::Upgrade("the server did not choose the tunnel protocol".into()));
    }
    let connection = upgrade::connection(hyper::upgrade::on(response)).await?;
    let (incoming, outgoing) = websocket::start(connection, Role::Client);
    Ok(Box::new(websocket::ByteStream::new(incoming, outgoing)))
}

/// Longest error text that is read.
const MAX_ERROR_BYTES: u64 = 64 * 1024;

impl Forwarder {
    /// Makes a connection to a port.
    pub async fn open(&self, port: u16) -> Result<Forwarded, StreamError> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed).to_string();
        let port = port.to_string();
        let headers = |kind: &str| {
            let pairs = [(header::STREAM_TYPE, kind), (header::PORT, &*port), (header::REQUEST_ID, &*request)];
            spdy::Headers::from(pairs)
        };
        let mut error = self.connection.open(&headers(header::ERROR)).await?;
        error.writer.finish();
        let data = self.connection.open(&headers(header::DATA)).await?;
        let reset = data.reset_handle();
        let error = async move {
            let mut text = Vec::new();
            // A connection that is gone has nothing to say.
            let _ = error.reader.take(MAX_ERROR_BYTES).read_to_end(&mut text).await;
            String::from_utf8_lossy(&text).into_owned()
        };
        Ok(Forwarded { from_pod: data.reader, to_pod: data.writer, reset, error: Box::pin(error) })
    }

    /// Resolves when the session is over.
    pub async fn closed(&self) {
        self.connection.closed().await;
    }

    pub async fn close(&self) {
        self.connection.close().await;
    }
}
