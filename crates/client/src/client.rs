//! One caller's way to an API server: sends requests, retries what is safe, reads the answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use orlop_api::status::StatusError;
use orlop_api::typed::Typed;
use orlop_base::backoff::Backoff;

use crate::api::Api;
use crate::error::{Error, Result};
use crate::object::{Dynamic, Object, Resource};
use crate::transport::{Body, NotSent, Transport, empty, full};

/// The API server gives up on a request after 60 s (`--request-timeout`); a little more patience
/// than that, and its answer still arrives.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(64);

/// No answer read whole is larger: 10,000 pods of 6 KB, four times over.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// As client-go's request: this often, then the failure is the caller's.
const MAX_RETRIES: u32 = 10;

/// Between tries of an idempotent request after a lost connection.
const RETRY_BACKOFF: Backoff = Backoff { initial: Duration::from_millis(50), max: Duration::from_secs(5) };

/// The longest `Retry-After` that is obeyed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// A caller with one identity. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    user_agent: Arc<str>,
}

impl Client {
    /// `user_agent` up to the first slash is the field manager of this caller's writes, unless a
    /// write names another: `kube-scheduler/v1.37.0`.
    pub fn new(transport: impl Transport, user_agent: &str) -> Self {
        Self { transport: Arc::new(transport), user_agent: user_agent.into() }
    }

    /// The same caller under another name for its programme.
    #[must_use]
    pub fn with_user_agent(mut self, user_agent: &str) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// A typed kind within one namespace.
    pub fn api<K: Typed>(&self, namespace: &str) -> Api<K> {
        Api::new(self.clone(), Resource::of::<K>(), namespace)
    }

    /// A cluster-scoped kind, or a namespaced one across all namespaces.
    pub fn all<K: Typed>(&self) -> Api<K> {
        self.api("")
    }

    /// Any resource, as values; `namespace` empty: all, or cluster-scoped.
    pub fn dynamic(&self, resource: &Resource, namespace: &str) -> Api<Dynamic> {
        self.resource(resource, namespace)
    }

    /// Any resource seen as `K`, for example bare metadata.
    pub fn resource<K: Object>(&self, resource: &Resource, namespace: &str) -> Api<K> {
        Api::new(self.clone(), resource.clone(), namespace)
    }

    /// Sends one request as it is and returns the answer's head and streaming body, whatever its
    /// status. No retries, no time limit: for streams and upgrades.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>> {
        if let Ok(agent) = header::HeaderValue::from_str(&self.user_agent) {
            request.headers_mut().entry(header::USER_AGENT).or_insert(agent);
        }
        let (method, path) = (request.method().clone(), request.uri().to_string());
        let answer = self.transport.send(request).await;
        crate::metrics::request_done(&method, answer.as_ref().ok().map(|r| r.status().as_u16()));
        answer.map_err(|source| Error::Transport { method, path, source })
    }

    /// Sends a request that streams its answer; an error status becomes an error.
    pub async fn stream(&self, method: Method, path: &str, accept: &str) -> Result<Response<Body>> {
        let call = Call { method, path, accept, content_type: "", body: Bytes::new() };
        let response = self.head(&call).await?;
        if response.status().is_success() { Ok(response) } else { Err(failure(&call, response).await) }
    }

    /// GET of any path, whole.
    pub async fn get_raw(&self, path: &str) -> Result<Bytes> {
        self.call(Call { method: Method::GET, path, accept: "*/*", content_type: "", body: Bytes::new() }).await
    }

    /// Any request with a whole answer; retried where that is safe.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Bytes> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.once(&call).await {
                Ok(Outcome::Done(bytes)) => return Ok(bytes),
                Ok(Outcome::Later(wait, status)) => {
                    if tries > MAX_RETRIES {
                        return Err(status.into());
                    }
                    tokio::time::sleep(wait.min(MAX_RETRY_AFTER)).await;
                }
                Err(error) if tries <= MAX_RETRIES && safe_to_repeat(&call.method, &error) => {
                    tokio::time::sleep(jitter(RETRY_BACKOFF.delay(tries))).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn once(&self, call: &Call<'_>) -> Result<Outcome> {
        let whole = async {
            let response = self.head(call).await?;
            let (status, retry_after) = (response.status(), retry_after(&response));
            if status.is_success() {
                return read(call, response).await.map(Outcome::Done);
            }
            let error = failure(call, response).await;
            match (retry_after, error) {
                // A server that names a time did not act on the request.
                (Some(wait), Error::Status(error)) if status == StatusCode::TOO_MANY_REQUESTS || error.code >= 500 => {
                    Ok(Outcome::Later(wait, error))
                }
                (_, error) => Err(error),
            }
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, whole).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout {
                method: call.method.clone(),
                path: call.path.to_owned(),
                seconds: REQUEST_TIMEOUT.as_secs(),
            }),
        }
    }

    async fn head(&self, call: &Call<'_>) -> Result<Response<Body>> {
        let mut request = Request::builder().method(&call.method).uri(call.path).header(header::ACCEPT, call.accept);
        if !call.content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, call.content_type);
        }
        let body = if call.body.is_empty() { empty() } else { full(call.body.clone()) };
        let request = request.body(body).map_err(|e| Error::Request(format!("{} {}: {e}", call.method, call.path)))?;
        self.send(request).await
    }
}

/// One request with a body of known bytes.
pub(crate) struct Call<'a> {
    pub method: Method,
    /// Path and query.
    pub path: &'a str,
    pub accept: &'a str,
    /// Empty without a body.
    pub content_type: &'a str,
    pub body: Bytes,
}

enum Outcome {
    Done(Bytes),
    /// Not done; the server says when to come back.
    Later(Duration, StatusError),
}

fn safe_to_repeat(method: &Method, error: &Error) -> bool {
    match error {
        Error::Transport { source, .. } => *method == Method::GET || source.is::<NotSent>(),
        Error::Timeout { .. } => *method == Method::GET,
        _ => false,
    }
}

fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn read(call: &Call<'_>, response: Response<Body>) -> Result<Bytes> {
    let lost = |source| Error::Transport { method: call.method.clone(), path: call.path.to_owned(), source };
    let mut body = response.into_body();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(lost)?.into_data() else { continue };
        if whole.is_empty() && body.is_end_stream() {
            // Most answers are one frame: no copy.
            return Ok(data);
        }
        whole.extend_from_slice(&data);
        if whole.len() > MAX_ANSWER_BYTES {
            return Err(lost(format!("the answer exceeds {MAX_ANSWER_BYTES} bytes").into()));
        }
    }
    Ok(whole.freeze())
}

async fn failure(call: &Call<'_>, response: Response<Body>) -> Error {
    let code = response.status().as_u16();
    match read(call, response).await {
        Ok(body) => StatusError::from_body(code, &body).into(),
        Err(error) => error,
    }
}

/// `wait` plus up to a fifth, so that callers that failed together do not return together.
pub(crate) fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + 0.2 * orlop_base::id::fraction())
}
