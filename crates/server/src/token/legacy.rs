//! Tokens that never expire and are kept in Secrets (`pkg/serviceaccount/legacy.go`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop_api::{Value, meta};
use orlop_client::transport::UserInfo;
use orlop_store::Snapshot;

use super::claims::Invalid;
use super::same_secret;
use crate::authn::metrics::METRICS;

/// `iss` of all of them.
pub const ISSUER: &str = "kubernetes/serviceaccount";

pub const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
pub const AUTO_GENERATED: &str = "Use tokens from the TokenRequest API or manually created secret-based tokens instead \
    of auto-generated secret-based tokens.";

/// The payload of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyClaims {
    subject: String,
    namespace: String,
    secret: String,
    account: String,
    account_uid: String,
}

/// What was found about a token whose signature holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The secret, where its use is to be noted.
    pub used: Option<Secret>,
    pub auto_generated: bool,
    pub refused: Option<Invalid>,
    /// Nobody used it for so long that it was marked.
    pub marked: bool,
}

impl Found {
    /// `looked_up`: the Secret was looked at.
    pub fn count(&self, looked_up: bool) {
        let tokens = &METRICS.account_tokens;
        match (self.marked, self.refused.is_some(), self.auto_generated) {
            (true, ..) => drop(tokens.legacy_auto_invalid.inc()),
            (_, false, true) => drop(tokens.legacy_auto.inc()),
            (_, false, false) if looked_up => drop(tokens.legacy_manual.inc()),
            _ => {}
        }
        if self.refused.is_none() {
            tokens.legacy.inc();
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

impl LegacyClaims {
    pub fn from_payload(payload: &Value) -> Self {
        let text = |field: &str| payload[field].as_str().unwrap_or_default().to_owned();
        let own = |field: &str| text(&format!("kubernetes.io/serviceaccount/{field}"));
        Self {
            subject: text("sub"),
            namespace: own("namespace"),
            secret: own("secret.name"),
            account: own("service-account.name"),
            account_uid: own("service-account.uid"),
        }
    }

    pub fn user(&self) -> UserInfo {
        let groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{}", self.namespace)];
        let name = format!("system:serviceaccount:{}:{}", self.namespace, self.account);
        UserInfo { name, uid: self.account_uid.clone(), groups, extra: Vec::new() }
    }

    fn check_complete(&self) -> Result<(), Invalid> {
        let needed = [
            ("sub", &self.subject),
            ("namespace", &self.namespace),
            ("secretName", &self.secret),
            ("serviceAccountName", &self.account),
            ("serviceAccountUID", &self.account_uid),
        ];
        if let Some((name, _)) = needed.into_iter().find(|(_, text)| text.is_empty()) {
            return Err(format!("{name} claim is missing").into());
        }
        if self.subject != format!("system:serviceaccount:{}:{}", self.namespace, self.account) {
            return Err("sub claim is invalid".into());
        }
        Ok(())
    }

    /// Whether the secret still holds this token and its account is still there; `today` is a date in UTC.
    pub fn check(&self, token: &str, snapshot: &Snapshot, today: jiff::civil::Date) -> Found {
        self.check_objects(token, snapshot, today)
            .unwrap_or_else(|why| Found { refused: Some(why), ..Found::default() })
    }

    /// Only what the token says itself.
    pub fn check_alone(&self) -> Found {
        Found { refused: self.check_complete().err(), ..Found::default() }
    }

    fn check_objects(&self, token: &str, snapshot: &Snapshot, today: jiff::civil::Date) -> Result<Found, Invalid> {
        self.check_complete()?;
        let (namespace, name) = (&self.namespace, &self.account);
        let read = |resource: &str, name: &str| {
            serde_json::from_slice::<Value>(&snapshot.get(resource, namespace, name)?.json).ok()
        };
        let deleted = |object: &Value| !object["metadata"]["deletionTimestamp"].is_null();
        let secret = read("secrets", &self.secret).filter(|secret| !deleted(secret));
        let secret = secret.ok_or("Token has been invalidated")?;
        let kept = secret["data"]["token"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        if !same_secret(&kept, token.as_bytes()) {
            return Err("Token does not match server's copy".into());
        }
        let account = read("serviceaccounts", name).ok_or_else(|| format!("serviceaccounts {name:?} not found"))?;
        if deleted(&account) {
            return Err(format!("ServiceAccount {namespace}/{name} has been deleted").into());
        }
        let (uid, claimed) = (meta::uid(&account), &self.account_uid);
        if uid != claimed {
            return Err(format!("ServiceAccount UID ({uid}) does not match claim ({claimed})").into());
        }
        Ok(self.judge(&secret, &account, today))
    }

    fn judge(&self, secret: &Value, account: &Value, today: jiff::civil::Date) -> Found {
        let label = |key: &str| secret["metadata"]["labels"][key].as_str().unwrap_or_default();
        let (namespace, name) = (&self.namespace, &self.account);
        let marked = !label(INVALID_SINCE).is_empty();
        let refused = marked.then(|| {
            let secret = &self.secret;
            format!(
                "the token in secret {namespace}/{secret} for service account {namespace}/{name} has been marked \
                 invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the \
                 '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
            )
            .into()
        });
        let listed = account["secrets"].as_array().into_iter().flatten();
        // Tomorrow: another server's clock may be ahead.
        let noted = [Ok(today), today.tomorrow()].into_iter().flatten().any(|day| label(LAST_USED) == day.to_string());
        let used = Secret { namespace: namespace.clone(), name: self.secret.clone(), uid: meta::uid(secret).into() };
        Found {
            used: (!noted).then_some(used),
            auto_generated: !marked && listed.into_iter().any(|reference| reference["name"] == *self.secret),
            refused,
            marked,
        }
    }
}
