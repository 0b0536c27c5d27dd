//! Bootstrap tokens: Secrets in `kube-system` by which a machine joins (`--enable-bootstrap-token-auth`,
//! `plugin/pkg/auth/authenticator/token/bootstrap`).

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop_api::Value;
use orlop_base::clock;
use orlop_client::transport::UserInfo;
use orlop_store::{Key, Store};

use crate::token::same_secret;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const USER_PREFIX: &str = "system:bootstrap:";
const DEFAULT_GROUP: &str = "system:bootstrappers";
const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;
const GROUP_MAX_LENGTH: usize = 256;

pub struct BootstrapTokens(Store);

impl BootstrapTokens {
    pub fn new(store: &Store) -> Self {
        Self(store.clone())
    }

    /// Whom a token makes, if it is one and still good.
    pub fn user(&self, token: &str) -> Option<UserInfo> {
        let (id, secret) = parse(token)?;
        let name = format!("bootstrap-token-{id}");
        let key = Key { resource: "secrets".into(), namespace: NAMESPACE.into(), name: name.into() };
        let object: Value = serde_json::from_slice(&self.0.newest(&key)?.json).ok()?;
        judge(&object, id, secret, clock::unix_seconds())
    }
}

fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let plain =
        |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (plain(id, ID_LENGTH) && plain(secret, SECRET_LENGTH)).then_some((id, secret))
}

fn judge(object: &Value, id: &str, secret: &str, now: i64) -> Option<UserInfo> {
    let data = |key: &str| {
        let bytes = STANDARD.decode(object["data"][key].as_str()?).ok()?;
        String::from_utf8(bytes).ok()
    };
    let alive = object["metadata"]["deletionTimestamp"].is_null() && object["type"] == TYPE;
    let expected = data("token-secret").unwrap_or_default();
    let known = same_secret(expected.as_bytes(), secret.as_bytes());
    let expired = data("expiration").filter(|time| !time.is_empty()).is_some_and(|time| {
        let end = time.parse::<jiff::Timestamp>();
        end.map_or(true, |end| end.as_second() <= now)
    });
    let may = data("usage-bootstrap-authentication").as_deref() == Some("true");
    if !(alive && known && data("token-id").as_deref() == Some(id) && !expired && may) {
        return None;
    }
    let groups = groups(&data("auth-extra-groups").unwrap_or_default())?;
    Some(UserInfo { name: format!("{USER_PREFIX}{id}"), groups, ..UserInfo::default() })
}

/// Sorted; `None` where one of them is no group of bootstrappers.
fn groups(extra: &str) -> Option<Vec<String>> {
    let mut groups = BTreeSet::from([DEFAULT_GROUP.to_owned()]);
    for group in extra.split(',').filter(|_| !extra.is_empty()) {
        let rest = group.strip_prefix("system:bootstrappers:")?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends_well = rest.bytes().next_back().is_some_and(plain);
        if !ends_well || rest.len() > GROUP_MAX_LENGTH || !rest.bytes().all(|b| plain(b) || b == b':' || b == b'-') {
            return None;
        }
        groups.insert(group.to_owned());
    }
    Some(groups.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(token: &str, changes: Value) -> String {
        let mut data = json!({
            "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
        });
        for (key, value) in changes.as_object().expect("an object") {
            data[key] = value.clone();
        }
        let data: serde_json::Map<String, Value> = data
            .as_object()
            .expect("an object")
            .iter()
            .map(|(key, value)| (key.clone(), STANDARD.encode(value.as_str().expect("text")).into()))
            .collect();
        let object = json!({"metadata": {}, "type": TYPE, "data": data});
        let user = parse(token).and_then(|(id, secret)| judge(&object, id, secret, 1_000_000_000));
        user.map_or("nobody".to_owned(), |user| format!("{} {}", user.name, user.groups.join(",")))
    }

    #[test]
    fn good_tokens_make_bootstrappers() {
        let token = "abcdef.0123456789abcdef";
        for (token, changes, expected) in [
            (token, json!({}), "system:bootstrap:abcdef system:bootstrappers"),
            (
                token,
                json!({"auth-extra-groups": "system:bootstrappers:b,system:bootstrappers:a-1"}),
                "system:bootstrap:abcdef system:bootstrappers,system:bootstrappers:a-1,system:bootstrappers:b",
            ),
            (token, json!({"auth-extra-groups": "system:masters"}), "nobody"),
            (token, json!({"auth-extra-groups": "system:bootstrappers:a-"}), "nobody"),
            (token, json!({"expiration": "2001-09-09T01:46:41Z"}), "system:bootstrap:abcdef system:bootstrappers"),
            (token, json!({"expiration": "2001-09-09T01:46:40Z"}), "nobody"),
            (token, json!({"expiration": "tomorrow"}), "nobody"),
            (token, json!({"usage-bootstrap-authentication": "yes"}), "nobody"),
            (token, json!({"token-id": "123456"}), "nobody"),
            (token, json!({"token-secret": "0123456789abcdeg"}), "nobody"),
            ("abcdef.0123456789ABCDEF", json!({}), "nobody"),
            ("abcde.0123456789abcdef", json!({}), "nobody"),
        ] {
            assert_eq!(found(token, changes.clone()), expected, "{token} {changes}");
        }
    }
}
