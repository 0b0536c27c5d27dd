//! An issuer's discovery document and keys, over TLS, kept until none of them has signed a token.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
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
    keys: RwLock<Arc<Keys>>,
    /// Held while asking: one question at a time.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `jwks_uri`, once the issuer said it.
    jwks_url: Option<String>,
    /// Not to be asked before.
    not_before: Option<Instant>,
}

/// What the issuer has published.
#[derive(Default)]
struct Keys {
    keys: Vec<Key>,
    /// Grows with each answer; zero before the first.
    generation: u64,
}

impl Keys {
    /// Whether one of them signed a token, which may name it.
    fn signed(&self, token: &Parsed<'_>) -> bool {
        let ((algorithm, id), (message, signature)) = (token.header(), token.signature());
        let mut named = self.keys.iter().filter(|key| key.is_named(id));
        named.any(|key| key.verifies(algorithm, message, signature))
    }
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

    pub fn authority(&self) -> Option<&[u8]> {
        self.authority.as_deref()
    }

    /// Whether one of the issuer's keys signed a token: of those that are known, or else of those it has now.
    pub async fn verify(&self, token: &Parsed<'_>) -> Result<(), String> {
        let known = self.known();
        if known.signed(token) {
            return Ok(());
        }
        self.refresh(known.generation).await?;
        if self.known().signed(token) {
            return Ok(());
        }
        Err("failed to verify signature: failed to verify id token signature".to_owned())
    }

    fn known(&self) -> Arc<Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Learns where the keys are, if that is not known: for a configuration that is to be taken over.
    pub async fn discover(&self) -> Result<(), String> {
        let mut state = self.state.lock().await;
        if state.jwks_url.is_none() {
            state.jwks_url = Some(self.find_keys().await?);
        }
        Ok(())
    }

    /// Asks for keys newer than those of `generation`.
    async fn refresh(&self, generation: u64) -> Result<(), String> {
        let mut state = self.state.lock().await;
        let known = self.known().generation;
        let too_early = state.not_before.is_some_and(|time| Instant::now() < time);
        // Somebody else may have asked meanwhile.
        if known > generation || too_early && known > 0 {
            return Ok(());
        }
        if too_early {
            return Err("oidc: authenticator not initialized".to_owned());
        }
        let result = self.ask(&mut state).await;
        state.not_before = Some(Instant::now() + if result.is_ok() { PAUSE } else { PAUSE_AFTER_FAILURE });
        result
    }

    async fn ask(&self, state: &mut State) -> Result<(), String> {
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
        let mut known = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        *known = Arc::new(Keys { keys, generation: known.generation + 1 });
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

/// GETs JSON.
async fn get(url: &str, authority: Option<&[u8]>) -> Result<Value, String> {
    let (code, body) = fetch(url, authority, "").await?;
    if !code.is_success() {
        return Err(format!("{code}: {}", String::from_utf8_lossy(&body)));
    }
    serde_json::from_slice(&body).map_err(|error| format!("expected Content-Type = application/json: {error}"))
}

/// GETs whatever is there, with a token if it is not empty.
pub async fn fetch(url: &str, authority: Option<&[u8]>, token: &str) -> Result<(StatusCode, Bytes), String> {
    let failed = |why: String| format!("Get {url:?}: {why}");
    let (https, path) = open(url, authority).map_err(|error| failed(orlop_base::error::chain(&error)))?;
    let mut request = Request::get(path).header(header::ACCEPT, "application/json");
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(empty()).map_err(|error| failed(error.to_string()))?;
    let exchange = async {
        let response = https.send(request).await.map_err(|error| failed(orlop_base::error::chain(&*error)))?;
        let code = response.status();
        let body = body::read(response.into_body()).await.map_err(|error| failed(error.message))?;
        Ok((code, body))
    };
    let answer = tokio::time::timeout(TIMEOUT, exchange).await;
    answer.unwrap_or_else(|_| Err(failed("context deadline exceeded".to_owned())))
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
