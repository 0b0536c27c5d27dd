//! Makes tokens and recognizes its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orlop_base::clock;
use orlop_client::transport::UserInfo;
use orlop_store::Store;
use tokio::sync::mpsc;

use super::claims::{Claims, Invalid};
use super::external::{External, ExternalError};
use super::jwt;
use super::legacy::{self, LegacyClaims, Secret};
use super::objects::{self, Vouchers};
use super::request::EXTENDED_SECONDS;
use super::tracking;
use crate::authn::metrics::METRICS;
use crate::authz::rule::go_list;
use crate::pki::{PublicKey, SigningKey};

/// Whose tokens.
#[derive(Clone, Debug)]
pub struct IssuerConfig {
    /// `iss` of new tokens, and an HTTPS URL for those who verify them elsewhere
    /// (`--service-account-issuer`).
    pub issuer: String,
    /// Earlier issuers whose tokens are still good.
    pub other_issuers: Vec<String>,
    /// Who we are (`--api-audiences`): tokens must be for one of these. Empty: every issuer.
    pub audiences: Vec<String>,
    /// Longest life that is granted (`--service-account-max-token-expiration`).
    pub max_expiration_seconds: Option<i64>,
    /// Keys of earlier issuers.
    pub other_keys: Vec<PublicKey>,
    /// A token in a Secret is good only as long as the Secret and its account are there (`--service-account-lookup`).
    pub lookup: bool,
    /// Longest life of those that live on for longer than they say.
    pub max_extended_seconds: i64,
    /// Tokens that kubelets ask for live on for a year, for clients that never read the renewed one
    /// (`--service-account-extend-token-expiration`).
    pub extend_expiration: bool,
    /// Where others find the keys; none: at this server (`--service-account-jwks-uri`).
    pub jwks_uri: Option<String>,
}

impl Default for IssuerConfig {
    fn default() -> Self {
        Self {
            issuer: "https://kubernetes.default.svc.cluster.local".into(),
            other_issuers: Vec::new(),
            audiences: Vec::new(),
            max_expiration_seconds: None,
            max_extended_seconds: EXTENDED_SECONDS,
            other_keys: Vec::new(),
            lookup: true,
            extend_expiration: true,
            jwks_uri: None,
        }
    }
}

pub struct Issuer {
    config: IssuerConfig,
    signer: Signer,
    /// Ours and those of earlier issuers.
    keys: Arc<Vec<PublicKey>>,
    store: Store,
    verified: Mutex<Verified>,
    uses: mpsc::Sender<Secret>,
    /// The other end, until somebody takes it.
    used: Mutex<Option<mpsc::Receiver<Secret>>>,
}

/// Who signs.
enum Signer {
    Own(Arc<SigningKey>),
    /// Its keys are the only ones.
    External(Arc<External>),
}

/// Uses of tokens in Secrets that wait to be noted; what does not fit is noted at the next use.
const MAX_USES: usize = 256;

/// How long others may keep keys of our own.
const MAX_AGE: Duration = Duration::from_hours(1);

/// A token that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    pub user: UserInfo,
    /// Those asked for that the token is meant for.
    pub audiences: Vec<String>,
    /// Nobody asked for this token: its bearer is warned.
    pub auto_generated: bool,
}

impl Issuer {
    pub fn new(mut config: IssuerConfig, key: Arc<SigningKey>, store: &Store) -> Self {
        if config.audiences.is_empty() {
            config.audiences = [&[config.issuer.clone()][..], &config.other_issuers].concat();
        }
        let mut keys = vec![key.public().clone()];
        keys.extend(config.other_keys.iter().filter(|other| *other != key.public()).cloned());
        let (uses, used) = mpsc::channel(MAX_USES);
        let (keys, signer) = (Arc::new(keys), Signer::Own(key));
        let (verified, used) = (Mutex::default(), Mutex::new(Some(used)));
        Self { config, signer, keys, store: store.clone(), verified, uses, used }
    }

    pub fn with_external(self, external: Arc<External>) -> Self {
        Self { signer: Signer::External(external), ..self }
    }

    pub(super) fn external(&self) -> Option<&Arc<External>> {
        match &self.signer {
            Signer::Own(_) => None,
            Signer::External(external) => Some(external),
        }
    }

    /// Keeps up with the keys of another signer, for as long as it is polled.
    pub async fn follow_keys(&self) {
        if let Some(external) = self.external() {
            external.run().await;
        }
    }

    /// Makes sure that the key that a token names is known if it is one of another signer's.
    pub async fn learn(&self, token: &str) {
        if let Some(external) = self.external()
            && let Some(parsed) = jwt::parse(token)
            && (self.is_ours(&parsed) || parsed.payload["iss"] == legacy::ISSUER)
        {
            external.learn(parsed.header().1).await;
        }
    }

    fn is_ours(&self, parsed: &jwt::Parsed<'_>) -> bool {
        let issuer = parsed.payload["iss"].as_str().unwrap_or_default();
        issuer == self.config.issuer || self.config.other_issuers.iter().any(|other| other == issuer)
    }

    pub fn config(&self) -> &IssuerConfig {
        &self.config
    }

    /// What tokens are verified by, some of which others are not to know.
    pub fn keys(&self) -> Vec<PublicKey> {
        self.external().map_or_else(|| self.keys.to_vec(), |external| external.keys().keys.clone())
    }

    /// How long others may keep the keys.
    pub fn max_age(&self) -> Duration {
        self.external().map_or(MAX_AGE, |external| external.keys().max_age())
    }

    fn verify(&self, parsed: &jwt::Parsed<'_>) -> Result<(), jwt::SignatureError> {
        match self.external() {
            None => parsed.verify(&self.keys),
            Some(external) => parsed.verify(&external.keys().keys),
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub async fn sign(&self, claims: &Claims) -> Result<String, ExternalError> {
        let payload = claims.to_payload();
        match &self.signer {
            Signer::Own(key) => Ok(jwt::sign(key, &payload)),
            Signer::External(external) => external.sign(&payload).await,
        }
    }

    /// What makes tokens of any claims, for Secrets; nobody does with another signer, as upstream.
    pub fn own_key(&self) -> Option<&Arc<SigningKey>> {
        match &self.signer {
            Signer::Own(key) => Some(key),
            Signer::External(_) => None,
        }
    }

    /// Uses of tokens in Secrets, to be noted; once.
    pub fn take_uses(&self) -> Option<mpsc::Receiver<Secret>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Who bears a token meant for one of `audiences` (ours, when none are given). `None`: not a
    /// token of this issuer.
    pub fn authenticate(&self, token: &str, audiences: Option<&[String]>) -> Result<Option<Authenticated>, Invalid> {
        let Some(known) = self.verified(token)? else { return self.authenticate_legacy(token, audiences) };
        let shared = self.shared(&known.claims.audiences, audiences)?;
        known.claims.check_times()?;
        let snapshot = self.store.snapshot();
        if known.vouchers.is_empty() || !objects::unchanged(&known.vouchers, &snapshot) {
            let vouchers = objects::check(&known.claims, &snapshot, clock::unix_seconds())?;
            self.lock().remember(token, Known { vouchers, ..known.clone() });
        }
        if let Some(warn_after) = known.claims.warn_after.filter(|seconds| *seconds != 0) {
            let tokens = &METRICS.account_tokens;
            if clock::unix_seconds() > warn_after {
                tokens.stale.inc()
            } else {
                tokens.valid.inc()
            };
        }
        Ok(Some(Authenticated { user: known.user, audiences: shared, auto_generated: false }))
    }

    /// What of the audiences asked for a token is meant for; one that names none is meant for us.
    fn shared(&self, meant: &[String], asked: Option<&[String]>) -> Result<Vec<String>, Invalid> {
        let ours = &*self.config.audiences;
        let meant = if meant.is_empty() { ours } else { meant };
        let asked = asked.unwrap_or(ours);
        let shared: Vec<String> = meant.iter().filter(|audience| asked.contains(audience)).cloned().collect();
        if shared.is_empty() {
            let (meant, asked) = (go_list(meant), go_list(asked));
            return Err(format!("token audiences {meant} is invalid for the target audiences {asked}").into());
        }
        Ok(shared)
    }

    /// The same for a token kept in a Secret.
    fn authenticate_legacy(&self, token: &str, asked: Option<&[String]>) -> Result<Option<Authenticated>, Invalid> {
        let Some(parsed) = jwt::parse(token).filter(|parsed| parsed.payload["iss"] == legacy::ISSUER) else {
            return Ok(None);
        };
        self.verify(&parsed).map_err(|error| error.to_string())?;
        let claims = LegacyClaims::from_payload(&parsed.payload);
        let audiences = self.shared(&Claims::audiences_of(&parsed.payload), asked)?;
        let found = if self.config.lookup {
            claims.check(token, &self.store.snapshot(), tracking::today())
        } else {
            claims.check_alone()
        };
        found.count(self.config.lookup);
        if let Some(secret) = found.used {
            // Full: the next use will be noted.
            let _ = self.uses.try_send(secret);
        }
        match found.refused {
            Some(why) => Err(why),
            None => Ok(Some(Authenticated { user: claims.user(), audiences, auto_generated: found.auto_generated })),
        }
    }

    /// The token's claims if its signature holds, from memory where it was seen before.
    fn verified(&self, token: &str) -> Result<Option<Known>, Invalid> {
        if let Some(known) = self.lock().by_token.get(token) {
            return Ok(Some(known.clone()));
        }
        let Some(parsed) = jwt::parse(token) else { return Ok(None) };
        if !self.is_ours(&parsed) {
            return Ok(None);
        }
        self.verify(&parsed).map_err(|error| error.to_string())?;
        let Some(claims) = Claims::from_payload(&parsed.payload) else { return Ok(None) };
        Ok(Some(Known { user: claims.user(), claims: Arc::new(claims), vouchers: Vouchers::new() }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Verified> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is remembered of a token.
#[derive(Clone, Debug)]
struct Known {
    claims: Arc<Claims>,
    user: UserInfo,
    /// Empty before the first check.
    vouchers: Vouchers,
}

/// Tokens whose signature was found good: checking one costs a tenth of a millisecond.
#[derive(Debug, Default)]
struct Verified {
    by_token: HashMap<String, Known>,
}

/// Tokens remembered: one per pod of a large cluster's busiest hour. Beyond it all are forgotten at
/// once, which costs each one verification.
const MAX_VERIFIED: usize = 10_000;

impl Verified {
    fn remember(&mut self, token: &str, known: Known) {
        if self.by_token.len() >= MAX_VERIFIED && !self.by_token.contains_key(token) {
            let now = clock::unix_seconds();
            self.by_token.retain(|_, known| known.claims.expires_at > now);
            if self.by_token.len() >= MAX_VERIFIED {
                self.by_token.clear();
            }
        }
        self.by_token.insert(token.to_owned(), known);
    }
}
