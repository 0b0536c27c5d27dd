//! Whether a token is what it says: signed by its issuer, meant for us, of this time (`go-oidc`'s `IDTokenVerifier`).

use orlop_api::Value;
use orlop_base::clock;

use super::provider::Provider;
use crate::authz::rule::go_list;
use crate::token::{Claims, jwt};

/// How far a token's beginning may lie ahead.
const NOT_BEFORE_LEEWAY_SECONDS: i64 = 60;
const GOOGLE: &str = "https://accounts.google.com";

/// Tokens of one issuer.
pub struct Verifier {
    provider: Provider,
    audiences: Vec<String>,
    algorithms: Vec<String>,
}

/// Whom a token says it is from, verified or not.
pub fn issuer_of(token: &str) -> Option<String> {
    let parsed = jwt::parse(token)?;
    let issuer = parsed.payload["iss"].as_str().unwrap_or_default();
    Some(if issuer == "accounts.google.com" { GOOGLE } else { issuer }.to_owned())
}

impl Verifier {
    pub fn new(provider: Provider, audiences: &[String], algorithms: &[String]) -> Self {
        Self { provider, audiences: audiences.to_vec(), algorithms: algorithms.to_vec() }
    }

    /// The same for tokens of another issuer, which says itself where its keys are.
    pub fn of_issuer(&self, issuer: &str) -> Self {
        let provider = Provider::new(issuer, None, self.authority().map(<[u8]>::to_vec));
        Self::new(provider, &self.audiences, &self.algorithms)
    }

    /// PEM; `None`: the system's.
    pub fn authority(&self) -> Option<&[u8]> {
        self.provider.authority()
    }

    /// Reaches the issuer, for a configuration that is to be taken over.
    pub async fn discover(&self) -> Result<(), String> {
        self.provider.discover().await
    }

    /// The claims of a good token.
    pub async fn verify(&self, token: &str) -> Result<Value, String> {
        let parsed = jwt::parse(token).ok_or("oidc: malformed jwt")?;
        let algorithm = parsed.header().0;
        if !self.algorithms.iter().any(|known| known == algorithm) {
            let known = go_list(&self.algorithms);
            return Err(format!(
                "oidc: id token signed with unsupported algorithm, expected {known} got {algorithm:?}"
            ));
        }
        self.provider.verify(&parsed).await?;
        self.check(&parsed.payload)?;
        Ok(parsed.payload)
    }

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
}

/// As Go prints a time in UTC.
fn go_time(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}
