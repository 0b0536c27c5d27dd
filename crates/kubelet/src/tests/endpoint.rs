//! The node's HTTPS endpoint, over real connections.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use orlop_base::port::ReservedPort;
use orlop_client::streams::remote_command::{self, Options, Outcome};
use orlop_client::streams::{port_forward, upgrade, websocket};
use orlop_client::transport::{Body, BoxError, Transport, empty};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::testing::node::{TestNode, container};

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// An authority, and what it vouches for.
struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn roots(&self) -> Arc<rustls::RootCertStore> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }

    fn sign(&self, name: &str, group: Option<&str>) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }
}

/// Speaks to the endpoint as somebody.
struct Caller {
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
}

impl Transport for Caller {
    fn send(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>> {
        let (address, tls) = (self.address, self.tls.clone());
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            let name = ServerName::IpAddress(address.ip().into());
            let stream = tokio_rustls::TlsConnector::from(tls).connect(name, stream).await?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection.with_upgrades());
            let response = sender.send_request(request).await?;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

impl Caller {
    async fn get(&self, path: &str) -> (u16, String) {
        let response = self.send(Request::get(path).body(empty()).unwrap()).await.unwrap();
        let code = response.status().as_u16();
        let body: Bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8_lossy(&body).into_owned())
    }
}

struct Endpoint {
    node: TestNode,
    ca: Ca,
    port: ReservedPort,
}

impl Endpoint {
    /// A node with one pod `web`, container `a`, that serves on a port of its own.
    async fn start() -> Self {
        let ca = Ca::new();
        let mut node = TestNode::new(&["nginx:1"]);
        let port = ReservedPort::new().unwrap();
        let (chain, key) = ca.sign("system:node:n1", None);
        let verifier = || rustls::server::WebPkiClientVerifier::builder_with_provider(ca.roots(), provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier().allow_unauthenticated().build().unwrap())
            .with_single_cert(chain, key)
            .unwrap();
        let server = &mut node.config.server;
        server.enabled = true;
        server.address = port.address;
        server.tls = Some(Arc::new(tls));
        server.client_verifier = Some(verifier().build().unwrap());
        node.start().await;
        let spec = json!({"containers": [{"name": "a", "image": "nginx:1", "imagePullPolicy": "IfNotPresent"}]});
        node.create("web", spec).await;
        node.until_pod("web", |pod| container(pod, "a")["ready"] == true).await;
        Self { node, ca, port }
    }

    fn caller(&self, name: Option<&str>, group: Option<&str>) -> Caller {
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.ca.roots());
        let tls = match name {
            Some(name) => {
                let (chain, key) = self.ca.sign(name, group);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        Caller { address: self.port.address, tls: Arc::new(tls) }
    }

    fn admin(&self) -> Caller {
        self.caller(Some("admin"), Some("system:masters"))
    }

    fn log_file(&self) -> std::fs::File {
        let path = self.node.runtime.newest("a").unwrap().0.log_path;
        std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap()
    }
}

#[tokio::test]
async fn only_those_who_may_are_answered() {
    let endpoint = Endpoint::start().await;
    assert_eq!(endpoint.admin().get("/healthz").await, (200, "ok".into()));
    assert_eq!(endpoint.caller(None, None).get("/healthz").await, (401, "Unauthorized".into()));
    let (code, text) = endpoint.caller(Some("eve"), None).get("/pods").await;
    assert_eq!(code, 403);
    assert_eq!(text, "Forbidden (user=eve, verb=get, resource=nodes, subresource(s)=[pods proxy])\n");
    assert_eq!(endpoint.admin().get("/nothing").await.0, 404);
}

#[tokio::test]
async fn objects_and_numbers() {
    let endpoint = Endpoint::start().await;
    let admin = endpoint.admin();
    let json = async |path: &str| -> Value { serde_json::from_str(&admin.get(path).await.1).unwrap() };
    assert_eq!(json("/pods").await["items"][0]["status"]["phase"], "Running");
    assert_eq!(json("/runningpods/").await["items"][0]["spec"]["containers"][0]["name"], "a");
    assert_eq!(json("/configz").await["kubeletconfig"]["clusterDomain"], "cluster.local");
    let summary = json("/stats/summary").await;
    assert_eq!(summary["node"]["nodeName"], "n1");
    assert_eq!(summary["pods"][0]["containers"][0]["memory"]["usageBytes"], 1 << 20);
    let metrics = admin.get("/metrics").await.1;
    assert!(metrics.contains("kubelet_running_pods 1"), "{metrics}");
    let resource = admin.get("/metrics/resource").await.1;
    assert!(resource.contains("container_memory_working_set_bytes{container=\"a\",namespace=\"default\",pod=\"web\"}"));
    assert!(admin.get("/metrics/cadvisor").await.1.contains("machine_cpu_cores 4"));
}

#[tokio::test]
async fn logs_are_read_and_followed() {
    let endpoint = Endpoint::start().await;
    let admin = endpoint.admin();
    let mut log = endpoint.log_file();
    log.write_all(b"2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stderr F two\n").unwrap();
    assert_eq!(admin.get("/containerLogs/default/web/a").await, (200, "one\ntwo\n".into()));
    assert_eq!(admin.get("/containerLogs/default/web/a?tailLines=1").await.1, "two\n");
    assert_eq!(
        admin.get("/containerLogs/default/web/x").await,
        (404, "container \"x\" not found in pod \"web\"".into())
    );
    let previous = "previous terminated container \"a\" in pod \"web\" not found";
    assert_eq!(admin.get("/containerLogs/default/web/a?previous=true").await, (400, previous.into()));

    let request = Request::get("/containerLogs/default/web/a?follow=true&tailLines=0").body(empty()).unwrap();
    let mut body = admin.send(request).await.unwrap().into_body();
    log.write_all(b"2026-01-01T00:00:02Z stdout F three\n").unwrap();
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(&frame[..], b"three\n");
    log.write_all(b"2026-01-01T00:00:03Z stdout F last\n").unwrap();
    endpoint.node.runtime.exit("a", 0);
    let rest = body.collect().await.unwrap().to_bytes();
    assert_eq!(&rest[..], b"last\n", "the end of the container is the end of its log");
}

#[tokio::test]
async fn commands_run_with_their_streams_and_codes() {
    let endpoint = Endpoint::start().await;
    let admin = endpoint.admin();
    let path = "/exec/default/web/a?command=cat&input=1&output=1";
    let options = Options { stdin: true, stdout: true, ..Options::default() };
    let mut session = remote_command::connect(&admin, path, options).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"hello").await.unwrap();
    stdin.shutdown().await.unwrap();
    let mut output = String::new();
    session.stdout.take().unwrap().read_to_string(&mut output).await.unwrap();
    assert_eq!((output.as_str(), session.outcome.await), ("hello", Outcome::Success));

    let path = "/exec/default/web/a?command=exit&command=3&output=1";
    let options = Options { stdout: true, ..Options::default() };
    let session = remote_command::connect(&admin, path, options).await.unwrap();
    assert_eq!(session.outcome.await, Outcome::Exit(3));
}

#[tokio::test]
async fn ports_are_forwarded() {
    let endpoint = Endpoint::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
    });
    let forwarder = port_forward::connect(&endpoint.admin(), "/portForward/default/web").await.unwrap();
    let mut forwarded = forwarder.open(port).await.unwrap();
    forwarded.to_pod.write_all(b"ping").await.unwrap();
    let mut reply = [0; 4];
    forwarded.from_pod.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"ping");
    let refused = forwarder.open(9).await.unwrap();
    let text = refused.error.await;
    assert!(text.ends_with("failed to connect to localhost:9: connect: connection refused"), "{text}");
}

#[tokio::test]
async fn a_client_of_channels_is_told_that_the_pod_is_done() {
    let endpoint = Endpoint::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"bye").await.unwrap();
    });
    let (headers, key) = websocket::request_headers(&["v4.channel.k8s.io"]);
    let mut request = Request::get(format!("/portForward/default/web?port={port}")).body(empty()).unwrap();
    request.headers_mut().extend(headers);
    let response = endpoint.admin().send(request).await.unwrap();
    websocket::check_response(&response, &key).unwrap();
    let connection = upgrade::connection(hyper::upgrade::on(response)).await.unwrap();
    // Nothing is sent and nothing closed: the client waits for the pod.
    let (mut incoming, _outgoing) = websocket::start(connection, websocket::Role::Client);
    let mut received = Vec::new();
    while let Some(chunk) = incoming.next().await {
        received.extend_from_slice(&chunk.unwrap().bytes);
    }
    assert!(received.ends_with(b"\0bye"), "{received:?}");
}
