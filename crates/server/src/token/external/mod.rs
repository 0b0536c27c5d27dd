//! ServiceAccount tokens that another program signs, whose keys never come near
//! (`--service-account-signing-endpoint`; KEP 740, `pkg/serviceaccount/externaljwt`).
//!
//! It says which keys verify its tokens, and when to ask again; a token by a key that is not known asks at once.

mod client;
pub mod metrics;

use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use orlop_api::Value;
use orlop_base::backoff::Backoff;
use orlop_base::grpc::CallError;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::pki::PublicKey;
use client::{Client, Fetched};
use metrics::METRICS;

/// Of fetching keys, at start too.
const FETCH_TIMEOUT: Duration = Duration::from_mins(1);
/// Of asking what the signer is.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
/// Upstream's signing ends with the request.
const SIGN_TIMEOUT: Duration = Duration::from_mins(1);
/// After keys could not be fetched; the known ones stay good.
const FETCH_AGAIN: Duration = Duration::from_secs(10);
/// Between tries to reach a signer that is not up yet.
const RETRY: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) };
const MAX_KEY_ID_BYTES: usize = 1024;
/// A shorter life is not acceptable.
const MIN_TOKEN_SECONDS: i64 = 600;
const ALGORITHMS: [&str; 4] = ["RS256", "ES256", "ES384", "ES512"];

/// Why the signer was of no use; prints as upstream does.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    #[error("{what}: {source}")]
    Call { what: &'static str, source: CallError },
    #[error("{0}")]
    Wrong(String),
}

pub struct External {
    client: Client,
    keys: ArcSwap<Keys>,
    /// One fetches, the others wait for what comes.
    fetching: Mutex<()>,
    /// The longest life of a token.
    pub max_expiration_seconds: i64,
}

/// As of the last time that the signer was asked.
#[derive(Debug)]
pub struct Keys {
    pub keys: Vec<PublicKey>,
    data_timestamp: (i64, i64),
    refresh: Instant,
}

impl Keys {
    fn has(&self, key_id: &str) -> bool {
        key_id.is_empty() || self.keys.iter().any(|key| key.key_id() == key_id)
    }

    /// How long others may keep them.
    pub fn max_age(&self) -> Duration {
        self.refresh.saturating_duration_since(Instant::now())
    }
}

impl External {
    /// Waits for the signer until it is there, within limits.
    pub async fn open(endpoint: &str) -> Result<Self, ExternalError> {
        let client = Client::new(endpoint);
        let first = async {
            let mut failures = 0;
            loop {
                match fetch(&client).await {
                    Err(ExternalError::Call { source, .. }) if source.is_unreachable() => {
                        failures += 1;
                        sleep(RETRY.delay(failures)).await;
                    }
                    other => return other,
                }
            }
        };
        let late = || ExternalError::Wrong("context deadline exceeded".into());
        let keys = timeout(FETCH_TIMEOUT, first).await.unwrap_or_else(|_| Err(late()));
        let filling = |why| ExternalError::Wrong(format!("while initially filling key cache: {why}"));
        let keys = ArcSwap::from_pointee(keys.map_err(filling)?);
        let max_expiration_seconds = client.max_expiration_seconds(METADATA_TIMEOUT).await;
        let max_expiration_seconds = max_expiration_seconds.map_err(|error| ExternalError::Wrong(error.to_string()))?;
        if max_expiration_seconds < MIN_TOKEN_SECONDS {
            return Err(ExternalError::Wrong(format!(
                "max token life supported by external-jwt-signer ({max_expiration_seconds}s) is less than acceptable \
                 (min {MIN_TOKEN_SECONDS}s)"
            )));
        }
        Ok(Self { client, keys, fetching: Mutex::default(), max_expiration_seconds })
    }

    pub fn keys(&self) -> std::sync::Arc<Keys> {
        self.keys.load_full()
    }

    /// Fetches keys when the signer wants to be asked again, for as long as it is polled.
    pub async fn run(&self) {
        let mut pause = self.keys().max_age();
        loop {
            sleep(pause).await;
            pause = match self.renew(None).await {
                Ok(()) => self.keys().max_age(),
                Err(why) => {
                    tracing::error!(%why, "fetching the signer's keys failed; those that are known stay good");
                    FETCH_AGAIN
                }
            };
        }
    }

    /// Makes sure that the key is known if it is one of the signer's.
    pub async fn learn(&self, key_id: &str) {
        if !self.keys().has(key_id)
            && let Err(why) = self.renew(Some(key_id)).await
        {
            tracing::error!(%why, "fetching the signer's keys failed");
        }
    }

    /// `wanted`: somebody else may have fetched it meanwhile.
    async fn renew(&self, wanted: Option<&str>) -> Result<(), ExternalError> {
        let _turn = self.fetching.lock().await;
        if wanted.is_some_and(|key_id| self.keys().has(key_id)) {
            return Ok(());
        }
        self.keys.store(fetch(&self.client).await?.into());
        Ok(())
    }

    /// A token of these claims.
    pub async fn sign(&self, payload: &Value) -> Result<String, ExternalError> {
        let token = self.assemble(payload).await;
        METRICS.signed(token.as_ref().err());
        token
    }

    async fn assemble(&self, payload: &Value) -> Result<String, ExternalError> {
        let claims = URL_SAFE_NO_PAD.encode(payload.to_string());
        let signed = self.client.sign(&claims, SIGN_TIMEOUT).await;
        let signed = signed.map_err(|source| ExternalError::Call { what: "while signing jwt", source })?;
        let header = |why| ExternalError::Wrong(format!("while validating header: {why}"));
        let key_id = check_header(&signed.header).map_err(header)?;
        self.learn(&key_id).await;
        if self.keys().keys.iter().any(|key| key.key_id() == key_id && key.is_unpublished()) {
            let why = format!("key used for signing JWT (kid: {key_id}) is excluded from OIDC discovery docs");
            return Err(header(why));
        }
        if signed.signature.is_empty() {
            return Err(ExternalError::Wrong("empty signature returned".into()));
        }
        Ok(format!("{}.{claims}.{}", signed.header, signed.signature))
    }
}

async fn fetch(client: &Client) -> Result<Keys, ExternalError> {
    const WHAT: &str = "while fetching token verification keys: while getting externally supported jwt signing keys";
    let fetched = match client.fetch_keys(FETCH_TIMEOUT).await {
        Ok(fetched) => {
            read(&fetched).map_err(|why| ExternalError::Wrong(format!("while fetching token verification keys: {why}")))
        }
        Err(source) => Err(ExternalError::Call { what: WHAT, source }),
    };
    METRICS.fetched(fetched.as_ref().err());
    fetched.inspect(|keys| METRICS.dated(keys.data_timestamp))
}

fn read(fetched: &Fetched) -> Result<Keys, String> {
    let hint = fetched.refresh_hint_seconds;
    let Some(pause) = u64::try_from(hint).ok().filter(|seconds| *seconds > 0) else {
        return Err(format!("found invalid refresh hint ({hint}s)"));
    };
    if fetched.keys.is_empty() {
        return Err("found no keys".into());
    }
    let data_timestamp = fetched.data_timestamp.ok_or("invalid data timestamp: proto: invalid nil Timestamp")?;
    let key = |key: &client::Key| {
        if key.id.is_empty() || key.id.len() > MAX_KEY_ID_BYTES {
            return Err(format!("found invalid public key id {:?}", key.id));
        }
        if key.info.is_empty() {
            return Err("found empty public key".to_owned());
        }
        let parsed = PublicKey::from_info(&key.info).ok_or("while parsing external public keys: unknown key type")?;
        Ok(parsed.named(&key.id, key.is_unpublished))
    };
    let keys = fetched.keys.iter().map(key).collect::<Result<_, _>>()?;
    // A hint of centuries is as good as one of a year.
    let refresh = Instant::now() + Duration::from_secs(pause).min(Duration::from_hours(24 * 365));
    Ok(Keys { keys, data_timestamp, refresh })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// The key that it names.
fn check_header(header: &str) -> Result<String, String> {
    let json = URL_SAFE_NO_PAD.decode(header).map_err(|error| format!("while unwrapping header: {error}"))?;
    let header: Header =
        serde_json::from_slice(&json).map_err(|error| format!("while parsing header JSON: {error}"))?;
    match header {
        Header { typ, .. } if typ != "JWT" => Err("bad type".into()),
        Header { kid, .. } if kid.is_empty() => Err("key id missing".into()),
        Header { kid, .. } if kid.len() > MAX_KEY_ID_BYTES => Err("key id longer than 1 kb".into()),
        Header { alg, .. } if !ALGORITHMS.contains(&&*alg) => Err(format!("bad signing algorithm {alg:?}")),
        Header { kid, .. } => Ok(kid),
    }
}

#[cfg(test)]
mod tests;
