//! Tokens of OpenID issuers (`--oidc-*`, `--authentication-config`;
//! `k8s.io/apiserver/plugin/pkg/authenticator/token/oidc`).

mod config;
mod distributed;
mod expressions;
mod keys;
mod mapping;
mod provider;
mod reload;
mod verifier;

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use orlop_api::field::{ErrorList, Path};
use orlop_client::transport::UserInfo;
use tokio::time::Instant;

use super::TokenAuthenticator;
use super::metrics::METRICS;
use crate::authz::rbac::aggregate;
use crate::token::Authenticated;
pub use config::{ClaimRule, Configuration, IssuerEntry, JwtConfig, Mappings, Source, load};
use distributed::Resolver;
pub use keys::ALGORITHMS;
use mapping::Mapping;
use provider::Provider;
pub use reload::JwtReload;
use verifier::{Verifier, issuer_of};

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
        let began = Instant::now();
        let user = issuer.user(token).await;
        METRICS.jwt(&issuer.url, user.is_ok(), began.elapsed());
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
    verifier: Verifier,
    /// Where groups come from a claim.
    resolver: Option<Resolver>,
    mapping: Mapping,
}

impl OidcIssuer {
    /// Of a configuration that was checked.
    fn new(config: &JwtConfig, algorithms: &[String]) -> Self {
        let issuer = &config.issuer;
        let authority = Some(&issuer.certificate_authority).filter(|pem| !pem.is_empty());
        let discovery = issuer.discovery_url.as_deref().filter(|url| !url.is_empty());
        let provider = Provider::new(&issuer.url, discovery, authority.map(|pem| pem.clone().into_bytes()));
        let verifier = Verifier::new(provider, &issuer.audiences, algorithms);
        let groups = Some(&config.claim_mappings.groups.claim).filter(|claim| !claim.is_empty());
        Self {
            url: issuer.url.clone(),
            resolver: groups.map(|claim| Resolver::new(claim, verifier.of_issuer(&issuer.url))),
            verifier,
            mapping: Mapping::compile(config, &Path::new("jwt"), &mut ErrorList::default()),
        }
    }

    /// Whether a token says it is from here.
    fn issued(&self, token: &str) -> bool {
        issuer_of(token).is_some_and(|issuer| issuer == self.url)
    }

    async fn user(&self, token: &str) -> Result<UserInfo, String> {
        let claims = self.verifier.verify(token).await;
        let mut claims = claims
            .map_err(|why| if why.starts_with("oidc: authenticator") { why } else { format!("verify token: {why}") })?;
        if let Some(resolver) = &self.resolver {
            let expanded = resolver.expand(&mut claims).await;
            expanded.map_err(|why| format!("could not expand distributed claims: {why}"))?;
        }
        self.mapping.user(&claims)
    }

    /// Reaches the issuer, for a configuration that is to be taken over.
    async fn discover(&self) -> Result<(), String> {
        self.verifier
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

#[cfg(test)]
mod tests;
