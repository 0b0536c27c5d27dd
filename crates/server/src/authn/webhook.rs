//! A webhook that knows bearers of tokens (`--authentication-token-webhook-config-file`,
//! `k8s.io/apiserver/plugin/pkg/authenticator/token/webhook`).

use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;
use orlop_api::Value;
use orlop_client::config::ConfigError;
use orlop_client::transport::UserInfo;
use serde_json::json;

use super::TokenAuthenticator;
use crate::review::cache::Cache;
use crate::review::remote::{self, Remote};
use crate::token::Authenticated;

const GROUP: &str = "authentication.k8s.io";
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const MAX_ANSWERS: usize = 8192;

#[derive(Debug, thiserror::Error)]
pub enum TokenWebhookError {
    #[error("unsupported authentication webhook version {0:?}, supported versions are \"v1\", \"v1beta1\"")]
    Version(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

pub struct TokenWebhook {
    remote: Remote,
    version: String,
    life: Duration,
    /// Who we are.
    own: Vec<String>,
    answers: Cache<Option<Authenticated>>,
}

impl TokenWebhook {
    /// `life`: how long answers are remembered.
    pub fn open(file: &Path, version: &str, life: Duration, own: Vec<String>) -> Result<Self, TokenWebhookError> {
        Self::new(Remote::from_kubeconfig(file, remote::TIMEOUT)?, version, life, own)
    }

    fn new(remote: Remote, version: &str, life: Duration, own: Vec<String>) -> Result<Self, TokenWebhookError> {
        if !VERSIONS.contains(&version) {
            return Err(TokenWebhookError::Version(version.to_owned()));
        }
        Ok(Self { remote, version: version.to_owned(), life, own, answers: Cache::new(MAX_ANSWERS) })
    }

    async fn ask(&self, token: &str, wanted: &[String]) -> Result<Option<Authenticated>, String> {
        let key = key(token, wanted);
        if let Some(known) = self.answers.get(&key) {
            return Ok(known);
        }
        let review = json!({
            "apiVersion": format!("{GROUP}/{}", self.version), "kind": "TokenReview", "metadata": {},
            "spec": { "token": token, "audiences": wanted }, "status": { "user": {} },
        });
        let answer = self.remote.ask(&review).await.map_err(|error| {
            tracing::error!(%error, "Failed to make webhook authenticator request");
            error.text
        })?;
        let found = self.judge(&answer["status"], wanted)?;
        self.answers.put(key, found.clone(), self.life);
        Ok(found)
    }

    fn judge(&self, status: &Value, wanted: &[String]) -> Result<Option<Authenticated>, String> {
        let told = texts(&status["audiences"]);
        let meant = if told.is_empty() { &self.own } else { &told };
        let audiences: Vec<String> = wanted.iter().filter(|audience| meant.contains(audience)).cloned().collect();
        if audiences.is_empty() {
            return Ok(None);
        }
        if status["authenticated"] != true {
            return match status["error"].as_str().filter(|error| !error.is_empty()) {
                Some(error) => Err(error.to_owned()),
                None => Ok(None),
            };
        }
        Ok(Some(Authenticated { user: user(&status["user"]), audiences, auto_generated: false }))
    }
}

impl TokenAuthenticator for TokenWebhook {
    fn authenticate<'a>(
        &'a self,
        token: &'a str,
        audiences: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<Option<Authenticated>, String>> {
        Box::pin(self.ask(token, audiences.unwrap_or(&self.own)))
    }
}

/// A digest: memory is not where tokens should lie about.
fn key(token: &str, audiences: &[String]) -> String {
    let text = format!("{token}\0{}", audiences.join("\0"));
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn user(user: &Value) -> UserInfo {
    let text = |field: &str| user[field].as_str().unwrap_or_default().to_owned();
    let extra = user["extra"].as_object().into_iter().flatten();
    UserInfo {
        name: text("username"),
        uid: text("uid"),
        groups: texts(&user["groups"]),
        extra: extra.map(|(key, values)| (key.clone(), texts(values))).collect(),
    }
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use orlop_client::config::Config;

    use super::*;

    #[test]
    fn answers_become_users() {
        let remote = Remote::new(Config { server: "http://127.0.0.1:1".into(), ..Config::default() }, remote::TIMEOUT);
        let own = vec!["api".to_owned()];
        let webhook = TokenWebhook::new(remote.expect("a webhook"), "v1", Duration::ZERO, own).expect("a webhook");
        let (api, vault) = (["api".to_owned()], ["vault".to_owned()]);
        let bob = json!({"authenticated": true, "user": {"username": "bob", "uid": "1", "groups": ["g"], "extra": {"k": ["v"]}}});
        let found = webhook.judge(&bob, &api).expect("an answer").expect("somebody");
        assert_eq!((&*found.user.name, &*found.user.uid, found.audiences.as_slice()), ("bob", "1", &api[..]));
        assert_eq!(found.user.extra, [("k".to_owned(), vec!["v".to_owned()])]);
        assert_eq!(webhook.judge(&bob, &vault), Ok(None), "it said nothing of the vault");
        let told = json!({"authenticated": true, "user": {"username": "bob"}, "audiences": ["vault", "other"]});
        assert_eq!(webhook.judge(&told, &vault).expect("an answer").expect("somebody").audiences, vault);
        assert_eq!(webhook.judge(&json!({"error": "no such token"}), &api), Err("no such token".to_owned()));
        assert_eq!(webhook.judge(&json!({"authenticated": false}), &api), Ok(None));
    }
}
