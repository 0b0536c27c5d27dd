//! Asking a webhook whether somebody may (`k8s.io/apiserver/plugin/pkg/authorizer/webhook`).

mod attributes;
mod conditions;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orlop_api::Value;
use orlop_client::config::ConfigError;
use orlop_client::transport::UserInfo;
use serde_json::json;
use tokio::time::Instant;

use super::chain::{Link, Mode};
use super::metrics::METRICS;
use crate::auth::Decision;
use crate::request::RequestInfo;
use crate::review::cache::Cache;
use crate::review::remote::{self, Remote};
pub use conditions::Conditions;

const GROUP: &str = "authorization.k8s.io";
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const MAX_ANSWERS: usize = 8192;
/// Requests that say more than this are asked about every time.
const MAX_CACHED_BYTES: usize = 10_000;

/// What an operator says of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub authorized_ttl: Duration,
    pub unauthorized_ttl: Duration,
    /// `v1` or `v1beta1`.
    pub version: String,
    /// No answer is a denial.
    pub deny_on_failure: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("unsupported webhook authorizer version {0:?}, supported versions are \"v1\", \"v1beta1\"")]
    Version(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

pub struct Webhook {
    remote: Remote,
    settings: Settings,
    conditions: Conditions,
    answers: Cache<Value>,
}

impl Webhook {
    pub fn new(remote: Remote, settings: Settings, conditions: Conditions) -> Self {
        Self { remote, settings, conditions, answers: Cache::new(MAX_ANSWERS) }
    }

    /// The webhook of a file in kubeconfig format, asked about everything.
    pub fn link(name: &str, file: &Path, settings: Settings) -> Result<Link, WebhookError> {
        if !VERSIONS.contains(&&*settings.version) {
            return Err(WebhookError::Version(settings.version));
        }
        let remote = Remote::from_kubeconfig(file, remote::TIMEOUT)?;
        let webhook = Self::new(remote, settings, Conditions::default());
        Ok(Link { name: name.to_owned(), mode: Mode::Webhook(Arc::new(webhook)) })
    }

    /// `name` is the webhook's in the chain.
    pub async fn decide(&self, name: &str, user: &UserInfo, request: &RequestInfo) -> Decision {
        let spec = attributes::spec(user, request);
        match self.concerned(name, &spec) {
            Ok(true) => {}
            Ok(false) => return Decision::NoOpinion { reason: String::new() },
            Err(error) => return self.failed(error),
        }
        let key = spec.to_string();
        if let Some(known) = self.answers.get(&key) {
            return judge(&known);
        }
        let version = format!("{GROUP}/{}", self.settings.version);
        let spec = if self.settings.version == "v1beta1" { attributes::to_v1beta1(spec) } else { spec };
        let review = json!({
            "apiVersion": version, "kind": "SubjectAccessReview", "metadata": {}, "spec": spec,
            "status": { "allowed": false },
        });
        let began = Instant::now();
        let answer = self.remote.ask(&review).await;
        let result = match &answer {
            Ok(_) => "success",
            Err(error) if error.timed_out() => "timeout",
            Err(_) => "error",
        };
        METRICS.webhook(name, result, answer.is_err() && !self.settings.deny_on_failure, began.elapsed());
        match answer {
            Err(error) => {
                tracing::error!(%error, "Failed to make webhook authorizer request");
                self.failed(error.text)
            }
            Ok(answer) => {
                let status = answer["status"].clone();
                if attributes::length(request) < MAX_CACHED_BYTES {
                    let allowed = status["allowed"] == true;
                    let life = if allowed { self.settings.authorized_ttl } else { self.settings.unauthorized_ttl };
                    self.answers.put(key, status.clone(), life);
                }
                judge(&status)
            }
        }
    }

    fn concerned(&self, name: &str, spec: &Value) -> Result<bool, String> {
        if self.conditions.is_empty() {
            return Ok(true);
        }
        let began = Instant::now();
        let held = self.conditions.hold(spec);
        METRICS.conditions(name, began.elapsed(), &held);
        held
    }

    fn failed(&self, error: String) -> Decision {
        Decision::Failed { denied: self.settings.deny_on_failure, reason: String::new(), error }
    }
}

fn judge(status: &Value) -> Decision {
    let reason = status["reason"].as_str().unwrap_or_default().to_owned();
    match (status["allowed"] == true, status["denied"] == true) {
        (true, true) => {
            let error = "webhook subject access review returned both allow and deny response".to_owned();
            Decision::Failed { denied: true, reason, error }
        }
        (_, true) => Decision::Deny { reason },
        (true, _) => Decision::Allow { reason },
        _ => Decision::NoOpinion { reason },
    }
}

#[cfg(test)]
mod tests;
