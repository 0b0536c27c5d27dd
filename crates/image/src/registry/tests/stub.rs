//! A registry in the test's own process.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::Content;
use crate::digest::Digest;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    None,
    Basic,
    Bearer,
}

pub struct Behaviour {
    pub content: Content,
    /// Answers to `latest` instead of the manifest.
    pub index: Option<Vec<u8>>,
    pub auth: Auth,
    /// Answers about the largest blob that end in the middle.
    pub cuts: AtomicUsize,
    pub ranges: bool,
    /// Given instead of an answer, first to last.
    pub failures: Mutex<Vec<StatusCode>>,
    /// Where blobs really are.
    pub redirect: Option<String>,
    address: String,
    log: Mutex<Vec<(String, HeaderMap)>>,
}

pub struct Stub(Arc<Behaviour>);

impl std::ops::Deref for Stub {
    type Target = Behaviour;
    fn deref(&self) -> &Behaviour {
        &self.0
    }
}

type Body = BoxBody<Bytes, std::io::Error>;

impl Stub {
    pub async fn new(content: Content) -> Self {
        Self::with(content, |_| ()).await
    }

    pub async fn with(content: Content, set: impl FnOnce(&mut Behaviour)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut behaviour = Behaviour {
            content,
            index: None,
            auth: Auth::None,
            cuts: 0.into(),
            ranges: true,
            failures: Mutex::default(),
            redirect: None,
            address: listener.local_addr().unwrap().to_string(),
            log: Mutex::default(),
        };
        set(&mut behaviour);
        let behaviour = Arc::new(behaviour);
        let served = behaviour.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let served = served.clone();
                let service = service_fn(move |request| {
                    let answer = served.answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service),
                );
            }
        });
        Self(behaviour)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// Paths asked for, in order.
    pub fn requests(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }

    /// Values of a header over all requests.
    pub fn headers(&self, name: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().filter_map(|(_, headers)| Some(headers.get(name)?.to_str().unwrap().to_owned())).collect()
    }
}

impl Behaviour {
    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        self.log.lock().unwrap().push((path.clone(), request.headers().clone()));
        let mut failures = self.failures.lock().unwrap();
        if !failures.is_empty() {
            return status(failures.remove(0));
        }
        if path == "/token" {
            return self.token(request);
        }
        if let Some(refused) = self.refuse(request) {
            return refused;
        }
        let parts: Vec<&str> = path.rsplitn(3, '/').collect();
        match parts[..] {
            ["latest", "manifests", _] => {
                ok(self.index.as_ref().unwrap_or(&self.content.manifest).clone(), StatusCode::OK)
            }
            [digest, "manifests", _] if digest == Digest::of(&self.content.manifest).as_str() => {
                ok(self.content.manifest.clone(), StatusCode::OK)
            }
            [digest, "blobs", _] => self.blob(digest, request),
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    fn token(&self, request: &Request<Incoming>) -> Response<Body> {
        let basic = request.headers().get(header::AUTHORIZATION).is_some_and(|value| value == good_basic().as_str());
        // A refresh token comes in a form that this stub does not read.
        if basic || request.method() == http::Method::POST {
            return ok(br#"{"access_token":"good"}"#.to_vec(), StatusCode::OK);
        }
        status(StatusCode::UNAUTHORIZED)
    }

    fn refuse(&self, request: &Request<Incoming>) -> Option<Response<Body>> {
        let (wanted, challenge) = match self.auth {
            Auth::None => return None,
            Auth::Basic => (good_basic(), "Basic realm=\"stub\"".to_owned()),
            Auth::Bearer => (
                "Bearer good".to_owned(),
                format!(
                    "Bearer realm=\"http://{}/token\",service=\"stub\",scope=\"repository:library/app:pull\"",
                    self.address
                ),
            ),
        };
        if request.headers().get(header::AUTHORIZATION).is_some_and(|value| value == wanted.as_str()) {
            return None;
        }
        let mut response = status(StatusCode::UNAUTHORIZED);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
        Some(response)
    }

    fn blob(&self, digest: &str, request: &Request<Incoming>) -> Response<Body> {
        if let Some(to) = &self.redirect {
            let mut response = status(StatusCode::TEMPORARY_REDIRECT);
            response.headers_mut().insert(header::LOCATION, format!("{to}{}", request.uri()).parse().unwrap());
            return response;
        }
        let Some(bytes) = Digest::parse(digest).and_then(|digest| self.content.blobs.get(&digest)) else {
            return status(StatusCode::NOT_FOUND);
        };
        let range = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok());
        let from: usize = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()).unwrap_or(0);
        let (rest, code) = match from {
            0 => (bytes.clone(), StatusCode::OK),
            _ if !self.ranges => (bytes.clone(), StatusCode::OK),
            from => (bytes[from..].to_vec(), StatusCode::PARTIAL_CONTENT),
        };
        let cut = digest == self.content.largest().as_str()
            && self.cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if cut { broken(&rest, code) } else { ok(rest, code) }
    }
}

fn good_basic() -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("user:secret"))
}

fn status(code: StatusCode) -> Response<Body> {
    ok(Vec::new(), code)
}

fn ok(bytes: Vec<u8>, code: StatusCode) -> Response<Body> {
    let body = Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed();
    Response::builder().status(code).body(body).unwrap()
}

/// A third of what was promised, then the connection breaks.
fn broken(bytes: &[u8], code: StatusCode) -> Response<Body> {
    let some = Bytes::copy_from_slice(&bytes[..bytes.len() / 3]);
    let frames = stream::iter([Ok(Frame::data(some)), Err(std::io::Error::other("cut"))]);
    let body = BodyExt::boxed(StreamBody::new(frames));
    Response::builder().status(code).header(header::CONTENT_LENGTH, bytes.len()).body(body).unwrap()
}
