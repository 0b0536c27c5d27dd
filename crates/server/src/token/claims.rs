//! What a token says (`pkg/serviceaccount/claims.go`).

use orlop_api::{Value, meta};
use orlop_base::clock;
use orlop_client::transport::UserInfo;
use serde_json::{Map, json};

/// The object a token is about or bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    pub name: String,
    pub uid: String,
}

impl Reference {
    pub fn to(object: &Value) -> Self {
        Self { name: meta::name(object).into(), uid: meta::uid(object).into() }
    }

    fn from_value(value: &Value) -> Option<Self> {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        value.is_object().then(|| Self { name: text("name"), uid: text("uid") })
    }

    fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (field, text) in [("name", &self.name), ("uid", &self.uid)] {
            if !text.is_empty() {
                map.insert(field.into(), text.clone().into());
            }
        }
        Value::Object(map)
    }
}

/// The payload of a ServiceAccount token. Times are Unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    pub issuer: String,
    pub audiences: Vec<String>,
    pub issued_at: i64,
    pub not_before: i64,
    pub expires_at: i64,
    /// `jti`.
    pub id: String,
    pub namespace: String,
    pub service_account: Reference,
    pub pod: Option<Reference>,
    pub secret: Option<Reference>,
    /// The pod's node, or what the token is bound to when there is no pod.
    pub node: Option<Reference>,
    /// From here on use is noted, see [`super::TokenRequest`].
    pub warn_after: Option<i64>,
}

/// Why a well-signed token is not accepted, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl<T: Into<String>> From<T> for Invalid {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

/// How far clocks may differ (go-jose's default leeway).
pub const LEEWAY_SECONDS: i64 = 60;

impl Claims {
    /// Reads a payload; `None` when it is no ServiceAccount token's.
    pub fn from_payload(payload: &Value) -> Option<Self> {
        let own = &payload["kubernetes.io"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let time = |field: &str| payload[field].as_f64().map_or(0, |seconds| seconds as i64);
        Some(Self {
            issuer: text(&payload["iss"]),
            audiences: Self::audiences_of(payload),
            issued_at: time("iat"),
            not_before: time("nbf"),
            expires_at: time("exp"),
            id: text(&payload["jti"]),
            namespace: text(&own["namespace"]),
            service_account: Reference::from_value(&own["serviceaccount"])?,
            pod: Reference::from_value(&own["pod"]),
            secret: Reference::from_value(&own["secret"]),
            node: Reference::from_value(&own["node"]),
            warn_after: own["warnafter"].as_i64(),
        })
    }

    /// `aud`, which may be one or a list.
    pub fn audiences_of(payload: &Value) -> Vec<String> {
        match &payload["aud"] {
            Value::Array(all) => all.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect(),
            Value::String(one) => vec![one.clone()],
            _ => Vec::new(),
        }
    }

    pub fn to_payload(&self) -> Value {
        let mut own = json!({
            "namespace": self.namespace, "serviceaccount": self.service_account.to_value(),
        });
        for (field, reference) in [("pod", &self.pod), ("secret", &self.secret), ("node", &self.node)] {
            if let Some(reference) = reference {
                own[field] = reference.to_value();
            }
        }
        if let Some(seconds) = self.warn_after {
            own["warnafter"] = seconds.into();
        }
        json!({
            "iss": self.issuer, "aud": self.audiences, "sub": self.subject(), "jti": self.id,
            "iat": self.issued_at, "nbf": self.not_before, "exp": self.expires_at, "kubernetes.io": own,
        })
    }

    /// The user name.
    pub fn subject(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.service_account.name)
    }

    pub fn check_times(&self) -> Result<(), Invalid> {
        let now = clock::unix_seconds();
        if self.not_before > now + LEEWAY_SECONDS {
            return Err("service account token is not valid yet".into());
        }
        if self.expires_at != 0 && now - LEEWAY_SECONDS > self.expires_at {
            return Err("service account token has expired".into());
        }
        if self.issued_at > now + LEEWAY_SECONDS {
            return Err("service account token is issued in the future".into());
        }
        Ok(())
    }

    /// Who the bearer is.
    pub fn user(&self) -> UserInfo {
        const PREFIX: &str = "authentication.kubernetes.io/";
        let mut extra = Vec::new();
        let mut add = |key: &str, value: &str| {
            if !value.is_empty() {
                extra.push((format!("{PREFIX}{key}"), vec![value.to_owned()]));
            }
        };
        if !self.id.is_empty() {
            add("credential-id", &format!("JTI={}", self.id));
        }
        if let Some(node) = &self.node {
            add("node-name", &node.name);
            add("node-uid", if node.name.is_empty() { "" } else { &node.uid });
        }
        if let Some(pod) = self.pod.as_ref().filter(|pod| !pod.name.is_empty() && !pod.uid.is_empty()) {
            add("pod-name", &pod.name);
            add("pod-uid", &pod.uid);
        }
        let groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{}", self.namespace)];
        UserInfo { name: self.subject(), uid: self.service_account.uid.clone(), groups, extra }
    }
}
