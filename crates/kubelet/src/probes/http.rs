//! httpGet: what status does the container answer with? Also the HTTP of lifecycle hooks
//! (`pkg/probe/http`).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper_util::rt::TokioIo;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::{Answer, tcp};
use crate::corev1::{Container, HTTPGetAction};

/// As Go's client: then it gives up.
const MAX_REDIRECTS: usize = 10;
/// Body read of an answer (`maxRespBodyLength`).
const MAX_BODY_BYTES: usize = 10 << 10;

/// One GET to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Get {
    https: bool,
    host: String,
    port: u16,
    /// With the query, always beginning with a slash.
    path: String,
    headers: HeaderMap,
}

impl Get {
    /// `purpose` names the caller in the user agent: `kube-probe/1.37`.
    pub fn new(action: &HTTPGetAction, container: &Container, pod_ip: &str, purpose: &str) -> Result<Self, String> {
        let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(pod_ip);
        let path = action.path.clone().unwrap_or_default();
        let mut headers = HeaderMap::new();
        for wanted in action.http_headers.iter().flatten() {
            let name = HeaderName::try_from(wanted.name.as_str()).map_err(|e| e.to_string())?;
            headers.append(name, HeaderValue::try_from(wanted.value.as_str()).map_err(|e| e.to_string())?);
        }
        let agent = HeaderValue::try_from(format!("kube-{purpose}/1.37")).map_err(|e| e.to_string())?;
        headers.entry(header::USER_AGENT).or_insert(agent);
        headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        if headers.get(header::ACCEPT).is_some_and(HeaderValue::is_empty) {
            headers.remove(header::ACCEPT);
        }
        Ok(Self {
            https: action.scheme.as_deref() == Some("HTTPS"),
            host: host.to_owned(),
            port: resolve_port(&action.port, container)?,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers,
        })
    }

    fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", tcp::join(&self.host, self.port), self.path)
    }

    /// Where a redirect leads; `None`: to another host, which is not followed.
    fn redirected(&self, location: &str) -> Option<Self> {
        let uri: Uri = location.parse().ok()?;
        let Some(host) = uri.host() else {
            let base = self.path.rsplit_once('/').map_or("", |(base, _)| base);
            let path = if location.starts_with('/') { location.to_owned() } else { format!("{base}/{location}") };
            return Some(Self { path, ..self.clone() });
        };
        if host.trim_matches(['[', ']']) != self.host {
            return None;
        }
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        Some(Self { https, port, path, ..self.clone() })
    }
}

/// A number, or the name of one of the container's ports.
pub fn resolve_port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name));
            match named.map(|p| p.container_port).or_else(|| name.parse().ok()) {
                Some(number) => number,
                None => return Err(format!("couldn't find port: {name} in {}", container.name)),
            }
        }
    };
    u16::try_from(number).ok().filter(|n| *n > 0).ok_or_else(|| format!("invalid port number: {number}"))
}

/// 200 to 399 is yes.
pub async fn probe(get: Get, timeout: Duration) -> Answer {
    let url = get.url();
    let redirects = |code: u16| (300..400).contains(&code);
    match tokio::time::timeout(timeout, follow(get, timeout)).await {
        Ok(Ok(Reply { code, body })) if redirects(code) => {
            Answer::Warning(format!("Probe terminated redirects, Response body: {}", String::from_utf8_lossy(&body)))
        }
        Ok(Ok(Reply { code, .. })) if (200..300).contains(&code) => Answer::Success,
        // The body is not told: it may hold what should not be in an event.
        Ok(Ok(Reply { code, .. })) => Answer::Failure(format!("HTTP probe failed with statuscode: {code}")),
        Ok(Err(why)) => Answer::Failure(format!("Get \"{url}\": {why}")),
        Err(_) => {
            let why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
            Answer::Failure(format!("Get \"{url}\": {why}"))
        }
    }
}

/// An answer's status and the beginning of its body.
#[derive(Debug)]
pub struct Reply {
    pub code: u16,
    pub body: Bytes,
}

async fn follow(get: Get, timeout: Duration) -> Result<Reply, String> {
    let mut next = get;
    for _ in 0..MAX_REDIRECTS {
        let (reply, location) = once(&next, timeout).await?;
        match location.filter(|_| matches!(reply.code, 301 | 302 | 303 | 307 | 308)) {
            Some(location) => match next.redirected(&location) {
                Some(there) => next = there,
                None => return Ok(reply),
            },
            None => return Ok(reply),
        }
    }
    Err(format!("stopped after {MAX_REDIRECTS} redirects"))
}

async fn once(get: &Get, timeout: Duration) -> Result<(Reply, Option<String>), String> {
    let stream = tcp::connect(&get.host, get.port, timeout).await?;
    if !get.https {
        return exchange(get, stream).await;
    }
    let name = rustls::pki_types::ServerName::try_from(get.host.clone()).map_err(|e| e.to_string())?;
    let tls = TlsConnector::from(unverified()).connect(name, stream).await.map_err(|e| e.to_string())?;
    exchange(get, tls).await
}

async fn exchange(
    get: &Get,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<(Reply, Option<String>), String> {
    let failed = |error: hyper::Error| reason(&error);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(failed)?;
    let mut request = Request::get(&get.path).body(Empty::new()).map_err(|e| e.to_string())?;
    *request.headers_mut() = get.headers.clone();
    let host = HeaderValue::try_from(tcp::join(&get.host, get.port)).map_err(|e| e.to_string())?;
    request.headers_mut().entry(header::HOST).or_insert(host);
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    let answer = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map(Collected::to_bytes).unwrap_or_default();
        let location = head.headers.get(header::LOCATION).and_then(|v| v.to_str().ok()).map(str::to_owned);
        Ok((Reply { code: head.status.as_u16(), body }, location))
    };
    // The connection is driven here, so that nothing outlives the answer or the timeout.
    tokio::select! {
        biased;
        answer = answer => answer,
        Err(error) = connection => Err(reason(&error)),
    }
}

fn reason(error: &hyper::Error) -> String {
    use std::error::Error;
    if error.is_incomplete_message() {
        return "EOF".to_owned();
    }
    match error.source().and_then(|source| source.downcast_ref::<std::io::Error>()) {
        Some(io) => tcp::in_gos_words(io, "read"),
        None => error.to_string(),
    }
}

/// Makes the request of a hook; any status is good.
pub async fn hook(get: Get, timeout: Duration) -> Result<Reply, String> {
    let url = get.url();
    let whole = tokio::time::timeout(timeout, follow(get, timeout)).await;
    whole.unwrap_or_else(|_| Err("context deadline exceeded".to_owned())).map_err(|why| format!("Get \"{url}\": {why}"))
}

impl Get {
    /// The same, without TLS.
    pub fn plain(self) -> Self {
        Self { https: false, ..self }
    }

    pub fn is_https(&self) -> bool {
        self.https
    }
}

/// Probes ask whether something answers, not who (`InsecureSkipVerify`).
fn unverified() -> Arc<rustls::ClientConfig> {
    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    let make = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
            .with_no_client_auth();
        Arc::new(config)
    };
    CONFIG.get_or_init(make).clone()
}

#[derive(Debug)]
struct Unverified(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use orlop_base::port::ReservedPort;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each connection with the next text, and returns the requests it saw.
    async fn server(answers: Vec<String>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut seen = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let count = stream.read(&mut request).await.unwrap();
                seen.push(String::from_utf8_lossy(&request[..count]).into_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            seen
        });
        (port, task)
    }

    fn get(port: u16, path: &str) -> Get {
        let action = HTTPGetAction {
            port: IntOrString::Int(port.into()),
            path: Some(path.into()),
            http_headers: Some(vec![crate::corev1::HTTPHeader { name: "X-A".into(), value: "b".into() }]),
            ..HTTPGetAction::default()
        };
        Get::new(&action, &Container::default(), "127.0.0.1", "probe").unwrap()
    }

    #[tokio::test]
    async fn statuses() {
        let timeout = Duration::from_mins(1);
        for (status, expected) in [
            ("204 No Content", Answer::Success),
            ("500 Oops", Answer::Failure("HTTP probe failed with statuscode: 500".into())),
            ("404 No", Answer::Failure("HTTP probe failed with statuscode: 404".into())),
        ] {
            let (port, seen) = server(vec![format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")]).await;
            assert_eq!(probe(get(port, "/healthz?x=1"), timeout).await, expected);
            let seen = seen.await.unwrap().remove(0).to_lowercase();
            assert!(seen.starts_with("get /healthz?x=1 http/1.1\r\n"), "{seen}");
            for line in ["user-agent: kube-probe/1.37", "accept: */*", "x-a: b", &format!("host: 127.0.0.1:{port}")] {
                assert!(seen.contains(line), "{line}\n{seen}");
            }
        }
    }

    #[tokio::test]
    async fn redirects_stay_on_the_host() {
        let timeout = Duration::from_mins(1);
        let to = |location: &str| format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let (port, _) = server(vec![to("/there"), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into()]).await;
        assert_eq!(probe(get(port, "/"), timeout).await, Answer::Success);
        let (port, _) = server(vec![to("http://elsewhere.example/")]).await;
        assert!(matches!(probe(get(port, "/"), timeout).await, Answer::Warning(_)));
    }

    #[tokio::test]
    async fn nobody_home() {
        let reserved = ReservedPort::new().unwrap();
        let port = reserved.address.port();
        let expected =
            format!("Get \"http://127.0.0.1:{port}/\": dial tcp 127.0.0.1:{port}: connect: connection refused");
        assert_eq!(probe(get(port, ""), Duration::from_mins(1)).await, Answer::Failure(expected));
    }

    #[test]
    fn named_ports() {
        let container = Container {
            name: "c".into(),
            ports: Some(vec![crate::corev1::ContainerPort {
                name: Some("web".into()),
                container_port: 8080,
                ..Default::default()
            }]),
            ..Container::default()
        };
        let resolve = |name: &str| resolve_port(&IntOrString::String(name.into()), &container);
        assert_eq!((resolve("web"), resolve("81")), (Ok(8080), Ok(81)));
        assert_eq!(resolve("x").unwrap_err(), "couldn't find port: x in c");
    }
}
