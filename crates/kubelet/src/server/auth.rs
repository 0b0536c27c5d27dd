//! Who may ask a node: client certificates of the cluster's authority, or bearer tokens by
//! TokenReview; allowed by SubjectAccessReview on `nodes` and their subresources.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use orlop_client::transport::{Body, UserInfo};
use orlop_client::{Client, Dynamic, Resource};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::reply::plain;

/// May do everything, whoever is asked.
const MASTERS: &str = "system:masters";

/// How long an answer is believed: upstream's defaults of the kubelet's webhooks.
const TOKEN_TTL: Duration = Duration::from_secs(120);
const ALLOWED_TTL: Duration = Duration::from_secs(300);
const DENIED_TTL: Duration = Duration::from_secs(30);
const MAX_CACHED: usize = 1024;

/// What a connection proved.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Of the verified client certificate.
    pub user: Option<UserInfo>,
}

pub struct Gate {
    client: Client,
    node_name: String,
    tokens: Cache<Option<UserInfo>>,
    verdicts: Cache<bool>,
}

impl Gate {
    pub fn new(client: Client, node_name: &str) -> Self {
        let (tokens, verdicts) = (Cache::default(), Cache::default());
        Self { client, node_name: node_name.to_owned(), tokens, verdicts }
    }

    /// `Err` is the refusal.
    pub async fn check<B>(&self, peer: &Peer, request: &Request<B>) -> Result<(), Response<Body>> {
        let user = match &peer.user {
            Some(user) => Some(user.clone()),
            None => self.by_token(request).await,
        };
        let Some(user) = user else { return Err(plain(StatusCode::UNAUTHORIZED, "Unauthorized")) };
        if user.groups.iter().any(|group| group == MASTERS) {
            return Ok(());
        }
        let verb = verb(request.method());
        let subresources = subresources(request.uri().path());
        for subresource in &subresources {
            if self.allowed(&user, verb, subresource).await {
                return Ok(());
            }
        }
        let text = format!(
            "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{}])\n",
            user.name,
            subresources.join(" ")
        );
        Err(plain(StatusCode::FORBIDDEN, text))
    }

    async fn by_token<B>(&self, request: &Request<B>) -> Option<UserInfo> {
        let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
        let token = value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer "))?.trim();
        if let Some(known) = self.tokens.get(token) {
            return known;
        }
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
        let answer = self.review("authentication.k8s.io", "tokenreviews", "TokenReview", review).await?;
        let status = &answer["status"];
        let user = (status["authenticated"] == true).then(|| user_info(&status["user"]));
        self.tokens.put(token.to_owned(), user.clone(), TOKEN_TTL);
        user
    }

    async fn allowed(&self, user: &UserInfo, verb: &str, subresource: &str) -> bool {
        let key = format!("{}\n{}\n{verb} {subresource}", user.name, user.groups.join(","));
        if let Some(known) = self.verdicts.get(&key) {
            return known;
        }
        let extra: serde_json::Map<String, Value> = user.extra.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": user.name, "groups": user.groups, "uid": user.uid, "extra": extra,
                "resourceAttributes": {"verb": verb, "version": "v1", "resource": "nodes",
                    "subresource": subresource, "name": self.node_name},
            },
        });
        let answer = self.review("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", review).await;
        let Some(answer) = answer else { return false };
        let allowed = answer["status"]["allowed"] == true;
        self.verdicts.put(key, allowed, if allowed { ALLOWED_TTL } else { DENIED_TTL });
        allowed
    }

    /// No answer means no.
    async fn review(
        &self,
        group: &'static str,
        plural: &'static str,
        kind: &'static str,
        review: Value,
    ) -> Option<Value> {
        let resource = Resource {
            group: group.into(),
            version: "v1".into(),
            plural: plural.into(),
            kind: kind.into(),
            namespaced: false,
        };
        match self.client.dynamic(&resource, "").create(&Dynamic(review)).await {
            Ok(answer) => Some(answer.0),
            Err(error) => {
                tracing::warn!(error = %orlop_base::error::chain(&error), "asking the API for a {kind}");
                None
            }
        }
    }
}

fn user_info(user: &Value) -> UserInfo {
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    UserInfo {
        name: user["username"].as_str().unwrap_or_default().to_owned(),
        uid: user["uid"].as_str().unwrap_or_default().to_owned(),
        groups: list(&user["groups"]),
        extra: user["extra"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), list(v))).collect(),
    }
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// Any of these allows; the finer ones come first (KEP-2862).
fn subresources(path: &str) -> Vec<&'static str> {
    match path.split('/').nth(1).unwrap_or_default() {
        "pods" | "runningpods" => vec!["pods", "proxy"],
        "healthz" => vec!["healthz", "proxy"],
        "configz" => vec!["configz", "proxy"],
        "stats" => vec!["stats"],
        "metrics" => vec!["metrics"],
        _ => vec!["proxy"],
    }
}

/// The user a client certificate names: common name, and organizations as groups.
pub fn certificate_user(der: &[u8]) -> Option<UserInfo> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok().map(str::to_owned));
    let mut groups: Vec<String> = groups.collect();
    groups.push("system:authenticated".to_owned());
    Some(UserInfo { name, groups, ..UserInfo::default() })
}

/// Answers with an end.
struct Cache<T>(Mutex<BTreeMap<String, (T, Instant)>>);

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Cache<T> {
    fn get(&self, key: &str) -> Option<T> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(key).filter(|(_, until)| *until > Instant::now()).map(|(value, _)| value.clone())
    }

    fn put(&self, key: String, value: T, ttl: Duration) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_CACHED {
            let now = Instant::now();
            cache.retain(|_, (_, until)| *until > now);
        }
        if cache.len() < MAX_CACHED {
            cache.insert(key, (value, Instant::now() + ttl));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_its_user() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "admin");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, MASTERS);
        let key = rcgen::KeyPair::generate().unwrap();
        let user = certificate_user(params.self_signed(&key).unwrap().der()).unwrap();
        assert_eq!((user.name.as_str(), user.groups[0].as_str()), ("admin", MASTERS));
    }

    #[test]
    fn finer_subresources_first() {
        assert_eq!(subresources("/pods"), ["pods", "proxy"]);
        assert_eq!(subresources("/metrics/cadvisor"), ["metrics"]);
        assert_eq!(subresources("/exec/a/b/c"), ["proxy"]);
    }
}
