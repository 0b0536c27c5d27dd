//! Tokens of OpenID issuers (`--oidc-*`, `--authentication-config`;
//! `k8s.io/apiserver/plugin/pkg/authenticator/token/oidc`).

mod config;
mod expressions;
mod keys;
mod mapping;
mod provider;
mod reload;

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use orlop_api::Value;
use orlop_api::field::{ErrorList, Path};
use orlop_base::clock;
use orlop_client::transport::UserInfo;

use super::TokenAuthenticator;
use crate::authz::rbac::aggregate;
use crate::authz::rule::go_list;
use crate::token::{Authenticated, Claims, jwt};
pub use config::{ClaimRule, Configuration, IssuerEntry, JwtConfig, Mappings, Source, load};
pub use keys::ALGORITHMS;
use mapping::Mapping;
use provider::Provider;
pub use reload::JwtReload;

/// How far a token's beginning may lie ahead.
const NOT_BEFORE_LEEWAY_SECONDS: i64 = 60;
const GOOGLE: &str = "https://accounts.google.com";

/// All configured issuers; the list may be replaced.
#[derive(Clone)]
pub struct Issuers {
    list: Arc<ArcSwap<Vec<OidcIssuer>>>,
    /// Who we are to bearers of tokens.
    audiences: Vec<String>,
}

impl Issuers {
    /// `algorithms`: what tokens may be signed with.
    pub fn new(config: &Configuration, algorithms: &[String], audiences: Vec<String>) -> Self {
        Self { list: Arc::new(ArcSwap::from_pointee(open(config, algorithms))), audiences }
    }

    async fn find(&self, token: &str) -> Result<Option<UserInfo>, String> {
        let list = self.list.load_full();
        let Some(issuer) = list.iter().find(|issuer| issuer.issued(token)) else { return Ok(None) };
        let user = issuer.user(token).await;
        user.map(Some).map_err(|why| if why.starts_with("oidc: authenticator") { why } else { format!("oidc: {why}") })
    }
}

impl TokenAuthenticator for Issuers {
    fn authenticate<'a>(
        &'a self,
        token: &'a str,
        asked: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<Option<Authenticated>, String>> {
        Box::pin(async move {
            // Their audiences are not ours: these tokens are for the API server, whoever issues them.
            let own = self.audiences.iter().filter(|own| asked.is_none_or(|asked| asked.contains(own)));
            let audiences: Vec<String> = own.cloned().collect();
            if audiences.is_empty() {
                return Ok(None);
            }
            let user = self.find(token).await?;
            Ok(user.map(|user| Authenticated { user, audiences, auto_generated: false }))
        })
    }
}

fn open(config: &Configuration, algorithms: &[String]) -> Vec<OidcIssuer> {
    config.jwt.iter().map(|jwt| OidcIssuer::new(jwt, algorithms)).collect()
}

/// One of them.
pub struct OidcIssuer {
    url: String,
    audiences: Vec<String>,
    algorithms: Vec<String>,
    mapping: Mapping,
    provider: Provider,
}

impl OidcIssuer {
    /// Of a configuration that was checked.
    fn new(config: &JwtConfig, algorithms: &[String]) -> Self {
        let issuer = &config.issuer;
        let authority = Some(&issuer.certificate_authority).filter(|pem| !pem.is_empty());
        let discovery = issuer.discovery_url.as_deref().filter(|url| !url.is_empty());
        Self {
            url: issuer.url.clone(),
            audiences: issuer.audiences.clone(),
            algorithms: algorithms.to_vec(),
            mapping: Mapping::compile(config, &Path::new("jwt"), &mut ErrorList::default()),
            provider: Provider::new(&issuer.url, discovery, authority.map(|pem| pem.clone().into_bytes())),
        }
    }

    /// Whether a token says it is from here.
    fn issued(&self, token: &str) -> bool {
        let Some(parsed) = jwt::parse(token) else { return false };
        let issuer = parsed.payload["iss"].as_str().unwrap_or_default();
        self.url == if issuer == "accounts.google.com" { GOOGLE } else { issuer }
    }

    async fn user(&self, token: &str) -> Result<UserInfo, String> {
        let verify =
            |why: String| if why.starts_with("oidc: authenticator") { why } else { format!("verify token: {why}") };
        let parsed = jwt::parse(token).ok_or_else(|| verify("oidc: malformed jwt".into()))?;
        let algorithm = parsed.header().0;
        if !self.algorithms.iter().any(|known| known == algorithm) {
            let known = go_list(&self.algorithms);
            return Err(verify(format!(
                "oidc: id token signed with unsupported algorithm, expected {known} got {algorithm:?}"
            )));
        }
        self.provider.verify(&parsed).await.map_err(verify)?;
        self.check(&parsed.payload).map_err(verify)?;
        self.mapping.user(&parsed.payload)
    }

    /// What go-oidc checks of a token besides its signature.
    fn check(&self, claims: &Value) -> Result<(), String> {
        let meant = Claims::audiences_of(claims);
        if !meant.iter().any(|audience| self.audiences.contains(audience)) {
            let meant = go_list(&meant);
            return Err(match self.audiences.as_slice() {
                [one] => format!("oidc: expected audience {one:?} got {meant}"),
                many => {
                    let mut many = many.to_vec();
                    many.sort();
                    format!("oidc: expected audience in {} got {meant}", go_list(&many))
                }
            });
        }
        let time = |field: &str| claims[field].as_f64().map(|seconds| seconds as i64);
        let (now, expiry) = (clock::unix_seconds(), time("exp").unwrap_or_default());
        if expiry < now {
            return Err(format!("oidc: token is expired (Token Expiry: {})", go_time(expiry)));
        }
        match time("nbf").filter(|start| now + NOT_BEFORE_LEEWAY_SECONDS < *start) {
            Some(start) => {
                Err(format!("oidc: current time {} before the nbf (not before) time: {}", go_time(now), go_time(start)))
            }
            None => Ok(()),
        }
    }

    /// Reaches the issuer, for a configuration that is to be taken over.
    async fn discover(&self) -> Result<(), String> {
        self.provider
            .discover()
            .await
            .map_err(|why| format!("oidc: authenticator for issuer {:?} is not healthy: {why}", self.url))
    }
}

/// Every issuer's answer, or why not all answered.
async fn discover(issuers: &[OidcIssuer]) -> Result<(), String> {
    let answers = futures_util::future::join_all(issuers.iter().map(OidcIssuer::discover)).await;
    let errors: Vec<String> = answers.into_iter().filter_map(Result::err).collect();
    if errors.is_empty() { Ok(()) } else { Err(aggregate(&errors)) }
}

/// As Go prints a time in UTC.
fn go_time(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

#[cfg(test)]
mod tests;
