//! Groups that a token does not name itself: it says where another token that does is to be had
//! (OpenID Connect Core 1.0, section 5.6.2).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use orlop_api::{Map, Value};

use super::provider;
use super::verifier::{Verifier, issuer_of};

/// Issuers of such tokens that are remembered; all are forgotten at once beyond it.
const MAX_ISSUERS: usize = 64;

/// Looks up one claim.
pub struct Resolver {
    claim: String,
    /// What tokens of any issuer must fulfil.
    like: Verifier,
    by_issuer: Mutex<BTreeMap<String, Arc<Verifier>>>,
}

impl Resolver {
    pub fn new(claim: &str, like: Verifier) -> Self {
        Self { claim: claim.to_owned(), like, by_issuer: Mutex::default() }
    }

    /// Adds the claim, if the claims say where to find it.
    pub async fn expand(&self, claims: &mut Value) -> Result<(), String> {
        let Some((endpoint, access_token)) = self.source(claims)? else { return Ok(()) };
        let value = self.resolve(&endpoint, &access_token).await?;
        claims[&self.claim] = value;
        Ok(())
    }

    /// The address, and what to show there.
    fn source(&self, claims: &Value) -> Result<Option<(String, String)>, String> {
        if claims.get(&self.claim).is_some() {
            return Ok(None);
        }
        let Some(names) = claims.get("_claim_names") else { return Ok(None) };
        let names: BTreeMap<String, String> = serde_json::from_value(names.clone())
            .map_err(|error| format!("oidc: error parsing distributed claim names: {error}"))?;
        let sources = claims.get("_claim_sources").ok_or("oidc: no claim sources")?;
        let sources: BTreeMap<String, Map<String, Value>> = serde_json::from_value(sources.clone())
            .map_err(|error| format!("oidc: could not parse claim sources: {error}"))?;
        let Some(name) = names.get(&self.claim) else { return Ok(None) };
        let missing = || format!("id token _claim_names contained a source {name} missing in _claims_sources");
        let source = sources.get(name).ok_or_else(missing)?;
        let text = |field: &str| source.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        // Without an address it is an aggregated claim, which counts for nothing.
        Ok(Some((text("endpoint"), text("access_token"))).filter(|(endpoint, _)| !endpoint.is_empty()))
    }

    async fn resolve(&self, endpoint: &str, access_token: &str) -> Result<Value, String> {
        let claim = &self.claim;
        let (code, body) = provider::fetch(endpoint, self.like.authority(), access_token)
            .await
            .map_err(|why| format!("while getting distributed claim {claim:?}: {why}"))?;
        if !code.is_success() {
            let why = format!("error while getting distributed claim JWT: {code}");
            return Err(format!("while getting distributed claim {claim:?}: {why}"));
        }
        let token = String::from_utf8_lossy(&body).into_owned();
        let issuer = issuer_of(&token).ok_or_else(|| {
            format!("getting untrusted issuer from endpoint {endpoint} failed for claim {claim:?}: malformed token")
        })?;
        let verified = self.verifier(&issuer).verify(&token).await;
        let claims = verified.map_err(|why| {
            if why.starts_with("oidc: authenticator") {
                format!("verifying untrusted issuer {issuer} failed: verifier not initialized for issuer: {issuer:?}")
            } else {
                format!("verify distributed claim token: {why}")
            }
        })?;
        let missing =
            || format!("jwt returned by distributed claim endpoint {endpoint:?} did not contain claim: {claim}");
        claims.get(claim).cloned().ok_or_else(missing)
    }

    fn verifier(&self, issuer: &str) -> Arc<Verifier> {
        let mut known = self.by_issuer.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_ISSUERS && !known.contains_key(issuer) {
            known.clear();
        }
        known.entry(issuer.to_owned()).or_insert_with(|| Arc::new(self.like.of_issuer(issuer))).clone()
    }
}
