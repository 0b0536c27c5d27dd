//! The server over real connections.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use harness::AllowAll;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use orlop_api::status::StatusError;
use orlop_client::transport::UserInfo;
use orlop_server::auth::{Authenticator, Peer};
use orlop_server::pki::{self, Pki};
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// Names the caller by how many certificates it showed.
struct ByCertificates;

impl Authenticator for ByCertificates {
    fn authenticate<'a>(
        &'a self,
        peer: &'a Peer,
        _: &'a http::request::Parts,
    ) -> BoxFuture<'a, Result<Option<UserInfo>, StatusError>> {
        let name = format!("{} certificates from {}", peer.certificates.len(), peer.address.unwrap().ip());
        Box::pin(async move { Ok(Some(UserInfo { name, ..UserInfo::default() })) })
    }
}

struct Running {
    address: SocketAddr,
    pki: Pki,
    api: harness::Api,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
    _dir: tempfile::TempDir,
}

async fn start() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::open(pki::Config {
        dir: dir.path().join("pki"),
        node_name: "node".into(),
        addresses: vec!["127.0.0.1".parse().unwrap()],
        service_address: "10.96.0.1".parse().unwrap(),
        cluster_domain: "cluster.local".into(),
        extra_names: Vec::new(),
    })
    .unwrap();
    let api =
        harness::with(Arc::new(AllowAll::default()), |config| config.authenticators = vec![Arc::new(ByCertificates)])
            .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(api.server.clone().serve(listener, pki.server_config().unwrap(), stop.clone()));
    Running { address, pki, api, stop, task, _dir: dir }
}

async fn connect(running: &Running, alpn: &[u8], with_certificate: bool) -> TlsStream<TcpStream> {
    let mut config = if with_certificate {
        (*pki::tls::client_config(running.pki.admin.clone(), running.pki.cluster_ca()).unwrap()).clone()
    } else {
        let mut roots = rustls::RootCertStore::empty();
        running.pki.cluster_ca().certificates().iter().for_each(|ca| roots.add(ca.clone()).unwrap());
        rustls::ClientConfig::builder_with_provider(pki::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(running.address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

fn get(path: &str) -> Request<Empty<bytes::Bytes>> {
    Request::get(path).header("host", "localhost").body(Empty::new()).unwrap()
}

#[tokio::test]
async fn both_protocols_with_and_without_certificates() {
    let running = start().await;
    for with_certificate in [false, true] {
        let stream = connect(&running, b"http/1.1", with_certificate).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let answer = sender.send_request(get("/version")).await.unwrap();
        assert_eq!(answer.status(), 200);
        let stream = connect(&running, b"h2", with_certificate).await;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let answer = sender.send_request(get("https://localhost/api/v1/namespaces")).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
    }
    running.stop.cancel();
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn draining_ends_watches_and_lets_answers_out() {
    let running = start().await;
    let stream = connect(&running, b"http/1.1", true).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let watch = sender.send_request(get("/api/v1/namespaces?watch=true")).await.unwrap();
    running.stop.cancel();
    watch.into_body().collect().await.expect("a clean end");
    running.api.get("/readyz").await.is(500);
    running.api.get("/livez").await.is(200);
    running.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(running.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn connections_may_idle_for_as_long_as_upstreams() {
    let running = start().await;
    let stream = connect(&running, b"http/1.1", true).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for idle_seconds in [0, 85] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(idle_seconds)).await;
        tokio::time::resume();
        let answer = sender.send_request(get("/version")).await.unwrap();
        assert_eq!(answer.status(), 200, "after {idle_seconds} s");
        answer.into_body().collect().await.unwrap();
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(91)).await;
    tokio::time::resume();
    let ended = connection.await.unwrap();
    assert!(sender.send_request(get("/version")).await.is_err(), "closed by the server: {ended:?}");
}
