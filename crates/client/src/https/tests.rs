//! Against a real server on the loopback interface: hyper's, with TLS and client certificates.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::Https;
use crate::client::Client;
use crate::config::{Auth, Config};
use crate::error::Error;
use crate::transport::{NotSent, empty};

struct Server {
    config: Config,
    connections: Arc<AtomicUsize>,
    /// `VERSION METHOD path authorization` of every request.
    seen: Arc<Mutex<Vec<String>>>,
}

struct Identity {
    chain: String,
    key: String,
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn identity(ca: &CertifiedIssuer<'static, KeyPair>, name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    Identity { chain: params.signed_by(&key, ca).unwrap().pem(), key: key.serialize_pem() }
}

async fn serve(alpn: &[&str]) -> Server {
    let ca = authority();
    let own = identity(&ca, "localhost");
    let user = identity(&ca, "user");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(own.chain.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap(),
        )
        .unwrap();
    tls.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (connections, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (count, log) = (connections.clone(), seen.clone());
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (acceptor, log) = (acceptor.clone(), log.clone());
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                let answer = service_fn(move |request| answer(request, log.clone()));
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection_with_upgrades(TokioIo::new(tls), answer).await;
            });
        }
    });
    let config = Config {
        server: format!("https://127.0.0.1:{port}/prefix"),
        certificate_authority: Some(ca.pem().into_bytes()),
        client_certificate: Some((user.chain.into_bytes(), user.key.into_bytes())),
        tls_server_name: Some("localhost".into()),
        auth: Auth::Token("secret".into()),
        ..Config::default()
    };
    Server { config, connections, seen }
}

async fn answer(
    mut request: Request<Incoming>,
    log: Arc<Mutex<Vec<String>>>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let auth = request.headers().get(header::AUTHORIZATION).map(|v| v.to_str().unwrap().to_owned());
    let line =
        format!("{:?} {} {} {}", request.version(), request.method(), request.uri().path(), auth.unwrap_or_default());
    log.lock().unwrap().push(line);
    if request.headers().contains_key(header::UPGRADE) {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.unwrap();
            word.reverse();
            stream.write_all(&word).await.unwrap();
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).header(header::UPGRADE, "echo");
        return Ok(response.header(header::CONNECTION, "upgrade").body(Full::default()).unwrap());
    }
    Ok(Response::new(Full::from(format!("{{\"path\":{:?}}}", request.uri().path()))))
}

#[tokio::test]
async fn many_requests_share_one_http2_connection() {
    let server = serve(&["h2", "http/1.1"]).await;
    let client = Client::new(Https::new(&server.config).unwrap(), "test/1");
    let answers = futures_util::future::join_all((0..20).map(|_| client.get_raw("/version"))).await;
    assert!(answers.iter().all(|a| a.as_ref().unwrap() == "{\"path\":\"/prefix/version\"}"));
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    assert_eq!(server.seen.lock().unwrap()[0], "HTTP/2.0 GET /prefix/version Bearer secret");
}

#[tokio::test]
async fn http1_servers_are_served_from_idle_connections() {
    let server = serve(&["http/1.1"]).await;
    let client = Client::new(Https::new(&server.config).unwrap(), "test/1");
    for _ in 0..3 {
        client.get_raw("/version").await.unwrap();
        // The connection is free again once its task has seen the end of the answer.
        tokio::task::yield_now().await;
    }
    assert_eq!(server.seen.lock().unwrap()[2], "HTTP/1.1 GET /prefix/version Bearer secret");
    assert!(server.connections.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn upgrades_take_a_connection_of_their_own() {
    let server = serve(&["h2", "http/1.1"]).await;
    let client = Client::new(Https::new(&server.config).unwrap(), "test/1");
    client.get_raw("/version").await.unwrap();
    let request = Request::builder().method(Method::POST).uri("/exec").header(header::UPGRADE, "echo");
    let request = request.header(header::CONNECTION, "upgrade").body(empty()).unwrap();
    let mut response = client.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    stream.write_all(b"abcd").await.unwrap();
    let mut word = [0; 4];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"dcba");
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_server_that_is_not_trusted_or_not_there_was_never_asked() {
    let server = serve(&["h2"]).await;
    let stranger = Config { certificate_authority: Some(authority().pem().into_bytes()), ..server.config.clone() };
    let nowhere = Config { server: "https://127.0.0.1:1".into(), ..server.config.clone() };
    for config in [stranger, nowhere] {
        let client = Client::new(Https::new(&config).unwrap(), "test/1");
        let request = Request::builder().method(Method::POST).uri("/x").body(empty()).unwrap();
        let Err(Error::Transport { source, .. }) = client.send(request).await else { panic!("must fail") };
        assert!(source.is::<NotSent>(), "{source:?}");
    }
    let careless = Config { insecure_skip_tls_verify: true, certificate_authority: None, ..server.config };
    Client::new(Https::new(&careless).unwrap(), "test/1").get_raw("/x").await.unwrap();
}

#[tokio::test]
async fn token_files_are_read_again() {
    let server = serve(&["h2"]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "one\n").unwrap();
    let config = Config { auth: Auth::TokenFile(file.path().to_owned()), ..server.config.clone() };
    let credentials = super::credentials::Credentials::new(&config.auth).unwrap();
    assert_eq!(credentials.header().await.unwrap().unwrap(), "Bearer one");
    std::fs::write(file.path(), "two\n").unwrap();
    assert_eq!(credentials.header().await.unwrap().unwrap(), "Bearer one");
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(51)).await;
    tokio::time::resume();
    assert_eq!(credentials.header().await.unwrap().unwrap(), "Bearer two");
}

#[tokio::test]
async fn an_answer_can_be_streamed() {
    let server = serve(&["h2"]).await;
    let client = Client::new(Https::new(&server.config).unwrap(), "test/1");
    let response = client.stream(Method::GET, "/log", "*/*").await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 22);
}
