//! HTTPS: accepting connections, proving peers, draining at the end.

mod heads;

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
use orlop_base::id;
use orlop_client::transport::BoxError;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Server;
use crate::auth::Peer;
use crate::wire::held;
use heads::{Guarded, Heads};

/// Connections held at once. A node has a few dozen; a thousand nodes stay well below.
const MAX_CONNECTIONS: usize = 65_536;
/// A peer that has not finished its handshake by then is not one of ours.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HTTP/1.1 connection may idle, as upstream's (`IdleTimeout`): clients that keep connections count on it.
/// hyper counts the wait for a request and the reading of its head together; a head by itself has less time.
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
    /// Serves `listener` until `shutdown`, then drains: readiness fails, requests under way are answered,
    /// and then watches end. `tls` resolves its certificates at each handshake, so that renewed ones
    /// take effect.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let (draining, open) = (CancellationToken::new(), TaskTracker::new());
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
                    let draining = draining.clone();
                    let connection = Connection { server: self.clone(), address, draining, _slot: slot };
                    open.spawn(orlop_base::task::boxed(connection.run(stream, TlsAcceptor::from(tls.clone()))));
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.leave();
        drop(listener);
        self.drain(&open, &draining).await;
        Ok(())
    }

    async fn drain(&self, open: &TaskTracker, draining: &CancellationToken) {
        self.under_way.close();
        if tokio::time::timeout(DRAIN_TIMEOUT, self.under_way.wait()).await.is_err() {
            tracing::warn!("some requests were not answered in time");
        }
        self.health.shutdown().cancel();
        draining.cancel();
        open.close();
        if tokio::time::timeout(DRAIN_TIMEOUT, open.wait()).await.is_err() {
            tracing::warn!("some connections did not drain in time");
        }
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

/// The server's end, or this connection's.
async fn either(draining: &CancellationToken, away: &Notify) {
    tokio::select! {
        () = draining.cancelled() => {}
        () = away.notified() => {}
    }
}

struct Connection {
    server: Arc<Server>,
    address: SocketAddr,
    draining: CancellationToken,
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
        let Self { server, address, draining, _slot } = self;
        let heads = Arc::new(Heads::default());
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            heads.are_over();
        }
        let stream = Guarded::new(stream, heads.clone());
        let away = Arc::new(Notify::new());
        let given_up = away.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, peer, heads) = (server.clone(), peer.clone(), heads.clone());
            let answering = (request.version() != http::Version::HTTP_2).then(|| heads.read());
            // Behind a balancer, clients would stay with the server that they first came to.
            let chance = server.limits.goaway_chance;
            if chance > 0.0 && request.version() == http::Version::HTTP_2 && id::fraction() < chance {
                given_up.notify_one();
            }
            async move {
                let mut request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
                request.extensions_mut().insert(peer);
                let response = server.handle(request).await;
                if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
                    heads.are_over();
                }
                Ok::<_, std::convert::Infallible>(match answering {
                    Some(answering) => response.map(|body| held::hold(body, answering)),
                    None => response,
                })
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
        let mut connection = std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = either(&draining, &away) => {
                // Takes no more requests; those under way are answered.
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%address, %error, "connection ended");
        }
    }
}
