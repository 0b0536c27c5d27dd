//! Reviews that a webhook answers: `TokenReview`, `SubjectAccessReview`, `ImageReview`
//! (`k8s.io/apiserver/pkg/util/webhook`).

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use orlop_api::Value;
use orlop_client::config::{Choice, Config, ConfigError, Kubeconfig};
use orlop_client::https::Https;
use orlop_client::transport::{Transport, full};

use crate::wire::body;

/// How long one answer may take, where nobody says.
pub const TIMEOUT: Duration = Duration::from_secs(30);
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// One webhook. Clones share connections.
#[derive(Clone)]
pub struct Remote {
    https: Https,
    path: String,
    url: String,
    timeout: Duration,
}

/// Why there is no answer, in the words of Go's client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct RemoteError {
    pub text: String,
    /// Asking again may help.
    transient: bool,
}

impl RemoteError {
    /// In the words of Go's client.
    pub fn timed_out(&self) -> bool {
        self.text.contains("context deadline exceeded")
    }
}

impl Remote {
    /// The current context of a file in kubeconfig format.
    pub fn from_kubeconfig(path: &Path, timeout: Duration) -> Result<Self, ConfigError> {
        Self::new(Kubeconfig::read(path)?.resolve(&Choice::default())?, timeout)
    }

    pub fn new(mut config: Config, timeout: Duration) -> Result<Self, ConfigError> {
        let url = config.server.clone();
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| ConfigError::Invalid {
            field: "server",
            problem: error.to_string(),
        })?;
        let path = format!("{}?timeout={}s", uri.path(), timeout.as_secs());
        if let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) {
            config.server = format!("{scheme}://{authority}");
        }
        Ok(Self { https: Https::new(&config)?, path, url: format!("{url}?timeout={}s", timeout.as_secs()), timeout })
    }

    /// Posts a review, again where that may help, and returns the answer.
    pub async fn ask(&self, review: &Value) -> Result<Value, RemoteError> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            match self.ask_once(review).await {
                Err(error) if error.transient => tracing::debug!(%error, "asking a webhook failed"),
                answer => return answer,
            }
            tokio::time::sleep(pause).await;
            pause += pause / 2;
        }
        self.ask_once(review).await
    }

    async fn ask_once(&self, review: &Value) -> Result<Value, RemoteError> {
        let permanent = |text: String| RemoteError { text, transient: false };
        let request = Request::post(&self.path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, "kube-apiserver")
            .body(full(Bytes::from(review.to_string())))
            .map_err(|error| permanent(error.to_string()))?;
        let failed = |why: String| permanent(format!("Post {:?}: {why}", self.url));
        let exchange = async {
            let response = self.https.send(request).await.map_err(|error| failed(orlop_base::error::chain(&*error)))?;
            let code = response.status();
            let body = body::read(response.into_body()).await.map_err(|error| failed(error.message))?;
            Ok((code, body))
        };
        let (code, body) = match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer?,
            Err(_) => {
                return Err(RemoteError { text: failed("context deadline exceeded".into()).text, transient: true });
            }
        };
        if !code.is_success() {
            return Err(RemoteError { text: refusal(code, &body), transient: is_transient(code) });
        }
        serde_json::from_slice(&body)
            .map_err(|error| permanent(format!("couldn't get version/kind; json parse error: {error}")))
    }
}

fn is_transient(code: StatusCode) -> bool {
    matches!(code, StatusCode::INTERNAL_SERVER_ERROR | StatusCode::GATEWAY_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// What client-go makes of an answer that is no review.
fn refusal(code: StatusCode, body: &[u8]) -> String {
    let status: Value = serde_json::from_slice(body).unwrap_or_default();
    match status["message"].as_str().filter(|_| status["kind"] == "Status") {
        Some(message) => message.to_owned(),
        None => match code {
            StatusCode::UNAUTHORIZED => "the server has asked for the client to provide credentials".to_owned(),
            StatusCode::NOT_FOUND => "the server could not find the requested resource".to_owned(),
            _ => {
                let text = String::from_utf8_lossy(body);
                format!("an error on the server ({:?}) has prevented the request from succeeding", text.trim())
            }
        },
    }
}
