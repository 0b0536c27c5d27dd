//! An issuer's discovery document and keys, over TLS, kept until a token names a key that is not among them.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::{Request, Uri, header};
use orlop_api::Value;
use orlop_client::config::{Config, ConfigError};
use orlop_client::https::Https;
use orlop_client::transport::{Transport, empty};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::keys::{self, Key};
use crate::token::jwt::Parsed;
use crate::wire::body;

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
const TIMEOUT: Duration = Duration::from_secs(30);
/// Between two tries to reach an issuer, whatever tokens come in between.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);
/// Between two looks for keys that tokens name.
const PAUSE: Duration = Duration::from_secs(1);

pub struct Provider {
    issuer: String,
    discovery_url: String,
    /// PEM; `None`: the system's.
    authority: Option<Vec<u8>>,
    keys: RwLock<Arc<Vec<Key>>>,
    /// Held while asking: one question at a time.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `jwks_uri`, once the issuer said it.
    jwks_url: Option<String>,
    /// Not to be asked before.
    not_before: Option<Instant>,
    /// Of the keys that are known: grows with each answer.
    generation: u64,
}

impl Provider {
    pub fn new(issuer: &str, discovery_url: Option<&str>, authority: Option<Vec<u8>>) -> Self {
        let own = format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/'));
        Self {
            issuer: issuer.to_owned(),
            discovery_url: discovery_url.map_or(own, str::to_owned),
            authority,
            keys: RwLock::default(),
            state: Mutex::default(),
        }
    }

    /// Whether one of the issuer's keys signed a token.
    pub async fn verify(&self, token: &Parsed<'_>) -> Result<(), String> {
        let known = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !is_named(&known, token) {
            self.refresh(token).await?;
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let ((algorithm, id), (message, signature)) = (token.header(), token.signature());
        let mut named = keys.iter().filter(|key| key.is_named(id));
        if named.any(|key| key.verifies(algorithm, message, signature)) {
            return Ok(());
        }
        Err("failed to verify signature: failed to verify id token signature".to_owned())
    }

    /// Learns where the keys are, if that is not known: for a configuration that is to be taken over.
    pub async fn discover(&self) -> Result<(), String> {
        let mut state = self.state.lock().await;
        if state.jwks_url.is_none() {
            state.jwks_url = Some(self.find_keys().await?);
        }
        Ok(())
    }

    async fn refresh(&self, token: &Parsed<'_>) -> Result<(), String> {
        let mut state = self.state.lock().await;
        // Somebody else may have asked meanwhile.
        let known = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let too_early = state.not_before.is_some_and(|time| Instant::now() < time);
        if is_named(&known, token) || too_early && state.generation > 0 {
            return Ok(());
        }
        if too_early {
            return Err("oidc: authenticator not initialized".to_owned());
        }
        let result = self.fetch(&mut state).await;
        state.not_before = Some(Instant::now() + if result.is_ok() { PAUSE } else { PAUSE_AFTER_FAILURE });
        result
    }

    async fn fetch(&self, state: &mut State) -> Result<(), String> {
        if state.jwks_url.is_none() {
            let found = self.find_keys().await.map_err(|error| {
                tracing::error!(error, issuer = self.issuer, "oidc authenticator: initializing plugin");
                "oidc: authenticator not initialized".to_owned()
            });
            state.jwks_url = Some(found?);
        }
        let url = state.jwks_url.as_deref().unwrap_or_default();
        let failed = |why: String| format!("failed to verify signature: fetching keys {why}");
        let set =
            get(url, self.authority.as_deref()).await.map_err(|why| failed(format!("oidc: get keys failed: {why}")))?;
        let keys = keys::of_set(&set).ok_or_else(|| failed("oidc: failed to decode keys".to_owned()))?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        state.generation += 1;
        Ok(())
    }

    async fn find_keys(&self) -> Result<String, String> {
        let document = get(&self.discovery_url, self.authority.as_deref()).await?;
        let issuer = document["issuer"].as_str().unwrap_or_default();
        if issuer != self.issuer {
            return Err(format!(
                "oidc: issuer did not match the issuer returned by provider, expected {:?} got {issuer:?}",
                self.issuer
            ));
        }
        let url = document["jwks_uri"].as_str().filter(|url| !url.is_empty());
        url.map(str::to_owned).ok_or_else(|| "provider did not return JWKS URL".to_owned())
    }
}

fn is_named(keys: &[Key], token: &Parsed<'_>) -> bool {
    keys.iter().any(|key| key.is_named(token.header().1))
}

/// GETs JSON.
async fn get(url: &str, authority: Option<&[u8]>) -> Result<Value, String> {
    let failed = |why: String| format!("Get {url:?}: {why}");
    let (https, path) = open(url, authority).map_err(|error| failed(orlop_base::error::chain(&error)))?;
    let request = Request::get(path).header(header::ACCEPT, "application/json").body(empty());
    let request = request.map_err(|error| failed(error.to_string()))?;
    let exchange = async {
        let response = https.send(request).await.map_err(|error| failed(orlop_base::error::chain(&*error)))?;
        let code = response.status();
        let body = body::read(response.into_body()).await.map_err(|error| failed(error.message))?;
        Ok((code, body))
    };
    let answer = tokio::time::timeout(TIMEOUT, exchange).await;
    let (code, body) = answer.unwrap_or_else(|_| Err(failed("context deadline exceeded".to_owned())))?;
    if !code.is_success() {
        return Err(format!("{code}: {}", String::from_utf8_lossy(&body)));
    }
    serde_json::from_slice(&body).map_err(|error| format!("expected Content-Type = application/json: {error}"))
}

fn open(url: &str, authority: Option<&[u8]>) -> Result<(Https, String), ConfigError> {
    let invalid = |problem: String| ConfigError::Invalid { field: "url", problem };
    let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| invalid(error.to_string()))?;
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.authority()) else {
        return Err(invalid("no host in it".to_owned()));
    };
    let certificate_authority = authority.map(<[u8]>::to_vec);
    let config = Config { server: format!("{scheme}://{host}"), certificate_authority, ..Config::default() };
    Ok((Https::new(&config)?, uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned()))
}
