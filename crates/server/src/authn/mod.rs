//! Authentication: who is asking.
//!
//! In upstream's order: components of this process, front proxies, client certificates, bearer
//! tokens (from a file, of ServiceAccounts). The first that knows the caller wins, also when an
//! earlier one found its credentials wrong. When none knows the caller, wrong credentials are a
//! 401; no credentials are `system:anonymous`.

mod bearer;
mod front_proxy;
mod token_file;
pub mod trust;
mod x509;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::request::Parts;
use orlop_api::status::StatusError;
use orlop_client::transport::UserInfo;

use crate::auth::{Authenticator, Peer};
use crate::pki::tls::ClientVerifiers;
use crate::token::{Authenticated, Issuer};

pub use bearer::bearer_token;
pub use front_proxy::FrontProxy;
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
    anonymous: bool,
}

/// Credentials that do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused;

/// Why a token is not good; for TokenReview's `status.error`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongToken(String);

impl Authentication {
    pub fn new(verifiers: ClientVerifiers, issuer: Arc<Issuer>) -> Self {
        Self {
            certificates: x509::Certificates::new(verifiers.users),
            front_proxy: FrontProxy::new(verifiers.front_proxies),
            token_file: None,
            issuer,
            anonymous: true,
        }
    }

    /// Also knows the tokens of a file (`--token-auth-file`).
    #[must_use]
    pub fn with_token_file(mut self, file: TokenFile) -> Self {
        self.token_file = Some(file);
        self
    }

    /// Refuses callers without credentials (`--anonymous-auth=false`).
    #[must_use]
    pub fn without_anonymous(mut self) -> Self {
        self.anonymous = false;
        self
    }

    /// Finds the caller; `None`: there is none to be found and anonymous callers are not let in.
    pub fn identify(&self, peer: &Peer, request: &Parts) -> Result<Option<UserInfo>, StatusError> {
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
        let found = note(self.front_proxy.identify(peer, &request.headers))
            .or_else(|| note(self.certificates.identify(peer)))
            .or_else(|| note(self.by_token(request)));
        if let Some(user) = found {
            return Ok(Some(authenticated(user)));
        }
        if wrong {
            return Err(StatusError::unauthorized());
        }
        Ok(self.anonymous.then(anonymous))
    }

    fn by_token(&self, request: &Parts) -> Result<Option<UserInfo>, Refused> {
        let Some(token) = bearer_token(&request.headers) else { return Ok(None) };
        match self.authenticate_token(&token, None) {
            Ok(found) => Ok(Some(found.user)),
            Err(error) => {
                tracing::debug!(%error, path = request.uri.path(), "token refused");
                Err(Refused)
            }
        }
    }

    /// Who bears a token, for TokenReview; the user without `system:authenticated`.
    pub fn authenticate_token(&self, token: &str, audiences: Option<&[String]>) -> Result<Authenticated, WrongToken> {
        if let Some(user) = self.token_file.as_ref().and_then(|file| file.user(token)) {
            // Whoever has such a token speaks to us, and to whomever was asked for.
            let audiences = audiences.unwrap_or(&self.issuer.config().audiences).to_vec();
            return Ok(Authenticated { user, audiences });
        }
        match self.issuer.authenticate(token, audiences) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(WrongToken("invalid bearer token".into())),
            Err(why) => Err(WrongToken(format!("[invalid bearer token, {why}]"))),
        }
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
        Box::pin(std::future::ready(self.identify(peer, request)))
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
