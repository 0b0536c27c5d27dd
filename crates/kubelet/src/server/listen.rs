//! TLS, connections, and their end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use orlop_client::transport::UserInfo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Server;
use super::auth::{Peer, certificate_user};
use crate::config::KubeletConfig;

/// A handshake that takes longer holds a connection for nothing.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Connections at once; each may hold a stream.
const MAX_CONNECTIONS: usize = 1000;

/// Serves until `shutdown`.
pub async fn listen(server: Arc<Server>, config: &KubeletConfig, shutdown: CancellationToken) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(tls(config).map_err(io::Error::other)?);
    let listener = TcpListener::bind(config.server.address).await?;
    let room = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await else { break };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors: give those that are open a moment to end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(permit) = room.clone().try_acquire_owned() else { continue };
        let (server, acceptor, stop) = (server.clone(), acceptor.clone(), shutdown.clone());
        connections.spawn(orlop_base::task::boxed(async move {
            stop.run_until_cancelled(serve(server, acceptor, stream)).await;
            drop(permit);
        }));
    }
    connections.close();
    connections.wait().await;
    Ok(())
}

async fn serve(server: Arc<Server>, acceptor: TlsAcceptor, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(tls)) = tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await else { return };
    let user = vouched(&server.context.config, tls.get_ref().1.peer_certificates());
    let peer = Arc::new(Peer { user });
    let service = service_fn(move |request| {
        let (server, peer) = (server.clone(), peer.clone());
        async move { Ok::<_, std::convert::Infallible>(server.answer(peer, request).await) }
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(tls), service).await {
        tracing::debug!(error, "a connection to the node ended");
    }
}

fn tls(config: &KubeletConfig) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
    if let Some(tls) = &config.server.tls {
        return Ok(tls.clone());
    }
    let (chain, key) = self_signed(config).map_err(|error| rustls::Error::General(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

/// Upstream's kubelet does the same when it is given no certificate.
fn self_signed(config: &KubeletConfig) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), rcgen::Error> {
    let names = config.node_ips.iter().map(ToString::to_string).chain([config.node_name.clone()]);
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(names.collect::<Vec<String>>())?.self_signed(&key)?;
    Ok((vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))))
}

/// The user of a client certificate, if the cluster's authority vouches for it.
fn vouched(config: &KubeletConfig, chain: Option<&[CertificateDer<'_>]>) -> Option<UserInfo> {
    let (leaf, intermediates) = chain?.split_first()?;
    let verifier = config.server.client_verifier.as_ref()?;
    match verifier.verify_client_cert(leaf, intermediates, UnixTime::now()) {
        Ok(_) => certificate_user(leaf),
        Err(error) => {
            tracing::debug!(%error, "a client certificate is not believed");
            None
        }
    }
}
