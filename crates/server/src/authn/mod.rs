//! Authentication: who is asking.
//!
//! In upstream's order: components of this process, front proxies, client certificates, bearer
//! tokens (from a file, of ServiceAccounts, bootstrap tokens, of configured issuers, whatever a webhook
//! knows). The first that knows the caller wins, also when an earlier one found its credentials wrong. When
//! none knows the caller, wrong credentials are a 401; no credentials are `system:anonymous`.

mod anonymous;
mod authorities;
mod bearer;
mod bootstrap_token;
mod front_proxy;
pub mod jwt;
pub mod metrics;
mod token_file;
pub mod trust;
pub mod webhook;
pub mod x509;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::request::Parts;
use orlop_api::status::StatusError;
use orlop_client::transport::UserInfo;

use crate::auth::{Authenticator, Peer};
use crate::call::Warnings;
use crate::pki::{Pki, PkiError};
use crate::token::{AUTO_GENERATED, Authenticated, Issuer};

pub use anonymous::Anonymous;
pub use authorities::{Authorities, AuthorityFile};
pub use bearer::bearer_token;
pub use bootstrap_token::BootstrapTokens;
pub use front_proxy::{FrontProxy, RequestHeaders};
pub use token_file::{TokenFile, TokenFileError};

pub const AUTHENTICATED: &str = "system:authenticated";
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
pub const ANONYMOUS: &str = "system:anonymous";

/// Every way to authenticate, as one.
pub struct Authentication {
    certificates: x509::Certificates,
    front_proxy: FrontProxy,
    token_file: Option<TokenFile>,
    issuer: Arc<Issuer>,
    bootstrap_tokens: Option<BootstrapTokens>,
    others: Vec<Arc<dyn TokenAuthenticator>>,
    anonymous: Anonymous,
}

/// Knows bearers of tokens that somebody else vouches for.
pub trait TokenAuthenticator: Send + Sync + 'static {
    /// `Ok(None)`: not one of its tokens; `audiences` are those that were asked for, if any were.
    fn authenticate<'a>(
        &'a self,
        token: &'a str,
        audiences: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<Option<Authenticated>, String>>;
}

/// Credentials that do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused;

/// Why a token is not good; for TokenReview's `status.error`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongToken(String);

impl Authentication {
    /// By certificates of the cluster's own authorities, and by tokens of its issuer.
    pub fn new(pki: &Pki, issuer: Arc<Issuer>) -> Result<Self, PkiError> {
        let users = Arc::new(Authorities::new(pki.cluster_ca(), None)?);
        let proxies = Arc::new(Authorities::new(pki.front_proxy_ca(), None)?);
        Ok(Self {
            certificates: x509::Certificates::new(users),
            front_proxy: FrontProxy::new(proxies, RequestHeaders::default()),
            token_file: None,
            issuer,
            bootstrap_tokens: None,
            others: Vec::new(),
            anonymous: Anonymous::Everywhere,
        })
    }

    /// Who vouches for users' certificates (`--client-ca-file`).
    #[must_use]
    pub fn with_users_of(mut self, authorities: Arc<Authorities>) -> Self {
        self.certificates = x509::Certificates::new(authorities);
        self
    }

    /// Also knows the tokens of a file (`--token-auth-file`).
    #[must_use]
    pub fn with_token_file(mut self, file: TokenFile) -> Self {
        self.token_file = Some(file);
        self
    }

    /// Also knows bootstrap tokens (`--enable-bootstrap-token-auth`).
    #[must_use]
    pub fn with_bootstrap_tokens(mut self, tokens: BootstrapTokens) -> Self {
        self.bootstrap_tokens = Some(tokens);
        self
    }

    /// Asks these too, after all others and in this order.
    #[must_use]
    pub fn with_others(mut self, others: Vec<Arc<dyn TokenAuthenticator>>) -> Self {
        self.others = others;
        self
    }

    /// Which headers of front proxies count, and whose (`--requestheader-*`).
    #[must_use]
    pub fn with_front_proxy(mut self, front_proxy: FrontProxy) -> Self {
        self.front_proxy = front_proxy;
        self
    }

    /// Where callers without credentials are let in (`--anonymous-auth`).
    #[must_use]
    pub fn with_anonymous(mut self, anonymous: Anonymous) -> Self {
        self.anonymous = anonymous;
        self
    }

    /// Finds the caller; `None`: there is none to be found and anonymous callers are not let in.
    pub async fn identify(&self, peer: &Peer, request: &Parts) -> Result<Option<UserInfo>, StatusError> {
        if let Some(component) = &peer.component {
            return Ok(Some(authenticated((**component).clone())));
        }
        let mut wrong = false;
        let mut note = |found: Result<Option<UserInfo>, Refused>| {
            found.unwrap_or_else(|Refused| {
                wrong = true;
                None
            })
        };
        let mut found = note(self.front_proxy.identify(peer, &request.headers));
        if found.is_none() {
            found = note(self.certificates.identify(peer));
        }
        if found.is_none() {
            found = note(self.by_token(request).await);
        }
        if let Some(user) = found {
            return Ok(Some(authenticated(user)));
        }
        if wrong {
            return Err(StatusError::unauthorized());
        }
        Ok(self.anonymous.admits(request.uri.path()).then(anonymous))
    }

    async fn by_token(&self, request: &Parts) -> Result<Option<UserInfo>, Refused> {
        let Some(token) = bearer_token(&request.headers) else { return Ok(None) };
        match self.authenticate_token(&token, None).await {
            Ok(found) => {
                if let Some(warnings) = request.extensions.get::<Warnings>().filter(|_| found.auto_generated) {
                    warnings.add(AUTO_GENERATED);
                }
                Ok(Some(found.user))
            }
            Err(error) => {
                tracing::debug!(%error, path = request.uri.path(), "token refused");
                Err(Refused)
            }
        }
    }

    /// Who bears a token, for TokenReview; the user without `system:authenticated`.
    pub async fn authenticate_token(
        &self,
        token: &str,
        audiences: Option<&[String]>,
    ) -> Result<Authenticated, WrongToken> {
        let mut errors = vec!["invalid bearer token".to_owned()];
        if let Some(found) = self.token_file.as_ref().and_then(|file| self.ours(file.user(token), audiences)) {
            return Ok(found);
        }
        self.issuer.learn(token).await;
        match self.issuer.authenticate(token, audiences) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(why) => errors.push(why.to_string()),
        }
        if let Some(found) = self.bootstrap_tokens.as_ref().and_then(|tokens| self.ours(tokens.user(token), audiences))
        {
            return Ok(found);
        }
        for other in &self.others {
            match other.authenticate(token, audiences).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(why) => errors.push(why),
            }
        }
        Err(WrongToken(crate::authz::rbac::aggregate(&errors)))
    }

    /// A token that says nothing of audiences is for us.
    fn ours(&self, user: Option<UserInfo>, asked: Option<&[String]>) -> Option<Authenticated> {
        let own = &self.issuer.config().audiences;
        let audiences = match asked {
            None => own.clone(),
            Some(asked) => own.iter().filter(|audience| asked.contains(audience)).cloned().collect(),
        };
        let user = user.filter(|_| !audiences.is_empty())?;
        Some(Authenticated { user, audiences, auto_generated: false })
    }

    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }
}

impl Authenticator for Authentication {
    fn authenticate<'a>(
        &'a self,
        peer: &'a Peer,
        request: &'a Parts,
    ) -> BoxFuture<'a, Result<Option<UserInfo>, StatusError>> {
        Box::pin(self.identify(peer, request))
    }
}

/// Adds the group of all who proved who they are.
pub fn authenticated(mut user: UserInfo) -> UserInfo {
    let known = user.groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED);
    if user.name != ANONYMOUS && !known {
        user.groups.push(AUTHENTICATED.into());
    }
    user
}

fn anonymous() -> UserInfo {
    UserInfo { name: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], ..UserInfo::default() }
}

#[cfg(test)]
mod tests;
