//! HTTPS: accepting connections, proving peers, draining at the end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use orlop_client::transport::BoxError;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::Server;
use crate::auth::Peer;

/// Connections held at once. A node has a few dozen; a thousand nodes stay well below.
const MAX_CONNECTIONS: usize = 65_536;
/// A peer that has not finished its handshake by then is not one of ours.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HTTP/1.1 connection may idle, as upstream's (`IdleTimeout`): clients that keep connections count on it.
/// hyper counts the wait for a request and the reading of its head together, so this bounds slow heads as well.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Go's default for listeners: a probe after this long without traffic, and between probes.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Requests at once on one HTTP/2 connection (upstream's default).
const MAX_STREAMS: u32 = 250;
/// Requests under way at shutdown get this long: as long as any of them may take.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(1);
/// Accepting failed for want of descriptors: let some connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Server {
    /// Serves `listener` until `shutdown`, then drains: readiness fails, watches end, requests under
    /// way are answered. `tls` resolves its certificates at each handshake, so that renewed ones
    /// take effect.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let draining = GracefulShutdown::new();
        loop {
            let slot = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                slot = slots.clone().acquire_owned() => slot.map_err(io::Error::other)?,
            };
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let connection =
                        Connection { server: self.clone(), address, watcher: draining.watcher(), _slot: slot };
                    tokio::spawn(connection.run(stream, TlsAcceptor::from(tls.clone())));
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.health.shutdown().cancel();
        drop(listener);
        if tokio::time::timeout(DRAIN_TIMEOUT, draining.shutdown()).await.is_err() {
            tracing::warn!("some connections did not drain in time");
        }
        Ok(())
    }
}

/// Answers leave at once; the kernel finds out about peers that vanished, so that their watches end.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE)?;
    Ok(())
}

struct Connection {
    server: Arc<Server>,
    address: SocketAddr,
    watcher: Watcher,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream, acceptor: TlsAcceptor) {
        if let Err(error) = tune(&stream) {
            tracing::debug!(address = %self.address, %error, "setting socket options failed");
        }
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.speak(stream).await,
            Ok(Err(error)) => {
                self.server.metrics.handshake_failed();
                tracing::debug!(address = %self.address, %error, "TLS handshake failed");
            }
            Err(_) => {
                self.server.metrics.handshake_failed();
                tracing::debug!(address = %self.address, "TLS handshake timed out");
            }
        }
    }

    async fn speak(self, stream: TlsStream<TcpStream>) {
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificates = certificates.iter().map(|der| der.as_ref().to_vec()).collect();
        let peer = Peer { address: Some(self.address), certificates: Arc::new(certificates), component: None };
        let server = self.server;
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, peer) = (server.clone(), peer.clone());
            async move {
                let mut request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
                request.extensions_mut().insert(peer);
                Ok::<_, std::convert::Infallible>(server.handle(request).await)
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(address = %self.address, %error, "connection ended");
        }
    }
}
