//! ServiceAccount tokens bound to a pod, asked for anew before they expire
//! (`pkg/kubelet/token`).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use orlop_client::Client;
use orlop_client::Resource;
use serde_json::{Value, json};

use crate::pod::spec::NodePod;

const SECOND: i64 = 1_000_000_000;
/// A token is asked for again after a day, however long it is good for.
const MAX_AGE_SECONDS: i64 = 24 * 3600;
/// ... or when a fifth of its time is left.
const REFRESH_PERCENT: i64 = 80;
/// Spread, so that tokens made together are not renewed together.
const MAX_JITTER_SECONDS: i64 = 10;
/// Used when the spec does not say (its default).
const DEFAULT_SECONDS: i64 = 3600;

/// Pod uid, service account, audience, seconds.
type Key = (String, String, String, i64);

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub text: String,
    pub refresh_nanos: i64,
    expires_nanos: i64,
}

#[derive(Default)]
pub struct Tokens {
    cache: Mutex<BTreeMap<Key, Token>>,
}

impl Tokens {
    /// A token for the pod's service account; an old one as long as it is good.
    pub async fn get(
        &self,
        client: &Client,
        pod: &NodePod,
        audience: &str,
        seconds: Option<i64>,
        now: i64,
    ) -> Result<Token, String> {
        let seconds = seconds.unwrap_or(DEFAULT_SECONDS);
        let account = pod.spec().service_account_name.as_deref().unwrap_or("default");
        let key: Key = (pod.uid().to_owned(), account.to_owned(), audience.to_owned(), seconds);
        let known = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(token) = known.as_ref().filter(|t| t.refresh_nanos > now) {
            return Ok(token.clone());
        }
        match (request(client, pod, account, audience, seconds, now).await, known) {
            (Ok(token), _) => {
                self.cache.lock().unwrap_or_else(PoisonError::into_inner).insert(key, token.clone());
                Ok(token)
            }
            (Err(error), Some(token)) if token.expires_nanos > now => {
                tracing::warn!(pod = pod.described(), error, "renewing a service account token");
                Ok(Token { refresh_nanos: now + MAX_JITTER_SECONDS * SECOND, ..token })
            }
            (Err(error), _) => Err(format!("failed to fetch token: {error}")),
        }
    }

    pub fn forget(&self, pod_uid: &str) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| key.0 != pod_uid);
    }
}

async fn request(
    client: &Client,
    pod: &NodePod,
    account: &str,
    audience: &str,
    seconds: i64,
    now: i64,
) -> Result<Token, String> {
    let mut spec = json!({
        "expirationSeconds": seconds,
        "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": pod.name(), "uid": pod.uid()},
    });
    if !audience.is_empty() {
        spec["audiences"] = json!([audience]);
    }
    let body = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": spec});
    let accounts = client.dynamic(&Resource::of::<orlop_api::typed::kinds::ServiceAccount>(), pod.namespace());
    let answer = accounts.post_subresource(account, "token", &body).await;
    let answer = answer.map_err(|error| orlop_base::error::chain(&error))?;
    read(&answer, seconds, now).ok_or_else(|| "the answer to the token request holds no token".to_owned())
}

fn read(answer: &Value, asked_seconds: i64, now: i64) -> Option<Token> {
    let text = answer["status"]["token"].as_str()?.to_owned();
    let expires: Timestamp = answer["status"]["expirationTimestamp"].as_str()?.parse().ok()?;
    let expires_nanos = i64::try_from(expires.as_nanosecond()).ok()?;
    let seconds = answer["spec"]["expirationSeconds"].as_i64().unwrap_or(asked_seconds);
    let issued = expires_nanos - seconds * SECOND;
    let jitter = orlop_base::id::with_rng(|rng| rng.i64(0..=MAX_JITTER_SECONDS));
    let age = (seconds * REFRESH_PERCENT / 100).min(MAX_AGE_SECONDS) - jitter;
    // A clock that is behind must not make a loop.
    let refresh_nanos = (issued + age * SECOND).max(now + SECOND);
    Some(Token { text, refresh_nanos, expires_nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewed_when_a_fifth_is_left_or_after_a_day() {
        let expires: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let expires_nanos = expires.as_nanosecond() as i64;
        for (seconds, left_at_least) in [(1000, 200), (10 * 24 * 3600, 9 * 24 * 3600)] {
            let answer = json!({"spec": {"expirationSeconds": seconds},
                "status": {"token": "t", "expirationTimestamp": expires.to_string()}});
            let token = read(&answer, seconds, 0).unwrap();
            let left = (expires_nanos - token.refresh_nanos) / SECOND;
            assert!((left_at_least..=left_at_least + 10).contains(&left), "{left}");
        }
    }
}
