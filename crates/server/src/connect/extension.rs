//! Extension API servers, reached through a Service. They learn who asks from headers that our certificate of a front
//! proxy vouches for (`k8s.io/kube-aggregator/pkg/apiserver/handler_proxy.go`).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode, response};
use orlop_api::Value;
use orlop_client::streams::upgrade;
use orlop_client::transport::{Body, UserInfo, empty};
use orlop_store::Store;

use super::dial::{Dialer, Target};
use super::{forward, location};
use crate::authz::MASTERS;
use crate::pki::{Leaf, tls};
use crate::wire::respond;

const DEFAULT_PORT: u16 = 443;
/// What the server asks for itself must be answered within this.
const TIMEOUT: Duration = Duration::from_secs(5);

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA_PREFIX: &str = "x-remote-extra-";

/// One that an APIService names.
pub struct ExtensionServer {
    store: Store,
    dialer: Dialer,
    namespace: String,
    name: String,
    port: u16,
}

/// What it answered to a question of our own.
pub struct Answer {
    /// Where.
    pub asked: String,
    pub code: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl ExtensionServer {
    /// Of an APIService's spec; fails when its `caBundle` cannot be read.
    pub fn new(store: &Store, spec: &Value, certificate: Option<Arc<Leaf>>) -> Result<Self, String> {
        let service = &spec["service"];
        let text = |field: &str| service[field].as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT);
        let tls = if spec["insecureSkipTLSVerify"] == true {
            tls::unchecked_client_config(certificate).map_err(|error| error.to_string())?
        } else {
            tls::bundle_client_config(spec["caBundle"].as_str(), certificate)?
        };
        let dialer = Dialer::named(tls, &format!("{name}.{namespace}.svc")).telling_of_traces();
        Ok(Self { store: store.clone(), dialer, namespace, name, port })
    }

    pub fn service(&self) -> (&str, &str, u16) {
        (&self.namespace, &self.name, self.port)
    }

    /// Hands a caller's request on as it came, upgrades too.
    pub async fn forward(&self, user: &UserInfo, mut head: Parts, body: Body) -> Response<Body> {
        let target = match self.target() {
            Ok(target) => target,
            Err(why) => {
                tracing::warn!(service = %self.name, namespace = %self.namespace, %why, "finding an API server failed");
                return unavailable("service unavailable");
            }
        };
        identify(&mut head.headers, user);
        let path = head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        if upgrade::is_upgrade(&head.headers) {
            let upgraded = forward::upgraded(&self.dialer, &target, &mut head, &path).await;
            return upgraded.unwrap_or_else(|error| unavailable(&error.message));
        }
        let request = match forward::request(&head, &path, body) {
            Ok(request) => request,
            Err(error) => return unavailable(&error.message),
        };
        match self.dialer.send(&target, request).await {
            Ok(mut response) => {
                forward::remove_hop_headers(response.headers_mut());
                response
            }
            Err(error) => unavailable(&format!("error trying to reach service: {error}")),
        }
    }

    /// Asks as the aggregator. The error says where it asked and why there is no answer.
    pub async fn get(&self, path: &str, accept: &str, etag: &str) -> Result<Answer, String> {
        let target = self.target()?;
        let asked = format!("https://{target}{path}");
        let answer = tokio::time::timeout(TIMEOUT, self.ask(&target, path, accept, etag)).await;
        match answer.unwrap_or_else(|_| Err("context deadline exceeded".into())) {
            Ok((head, body)) => Ok(Answer { asked, code: head.status, headers: head.headers, body }),
            Err(why) => Err(format!("failing or missing response from {asked}: Get {asked:?}: {why}")),
        }
    }

    async fn ask(
        &self,
        target: &Target,
        path: &str,
        accept: &str,
        etag: &str,
    ) -> Result<(response::Parts, Bytes), String> {
        let mut request = Request::get(path).header(header::HOST, target.to_string()).header(header::ACCEPT, accept);
        if !etag.is_empty() {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let mut request = request.body(empty()).map_err(|error| error.to_string())?;
        let groups = vec![MASTERS.to_owned()];
        identify(
            request.headers_mut(),
            &UserInfo { name: "system:kube-aggregator".into(), groups, ..UserInfo::default() },
        );
        let response = self.dialer.send(target, request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = crate::wire::body::read(body).await.map_err(|error| error.message)?;
        Ok((head, body))
    }

    fn target(&self) -> Result<Target, String> {
        let (host, port) = location::endpoint_of_service(&self.store, &self.namespace, &self.name, self.port)?;
        Ok(Target { encrypted: true, host, port })
    }
}

/// Says who asks, and lets nobody say it of himself.
fn identify(headers: &mut HeaderMap, user: &UserInfo) {
    let claimed: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(EXTRA_PREFIX)).cloned().collect();
    for name in claimed.iter().chain(&[USER, UID, GROUP]) {
        headers.remove(name);
    }
    let mut say = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.append(name, value);
        }
    };
    say(USER, &user.name);
    if !user.uid.is_empty() {
        say(UID, &user.uid);
    }
    user.groups.iter().for_each(|group| say(GROUP, group));
    for (key, values) in &user.extra {
        let Ok(name) = HeaderName::try_from(format!("{EXTRA_PREFIX}{}", escaped(key))) else { continue };
        values.iter().for_each(|value| say(name.clone(), value));
    }
}

/// A key as part of a header's name: what may not stand there is percent-encoded (RFC 9110's tokens).
fn escaped(key: &str) -> String {
    key.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Upstream's answer is plain text.
pub fn unavailable(why: &str) -> Response<Body> {
    respond::text(503, "text/plain; charset=utf-8", format!("{why}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_cannot_name_themselves() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("x-remote-user", "root"), ("x-remote-group", "system:masters"), ("x-remote-extra-a", "b")]
        {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let extra = vec![("example.com/scopes".to_owned(), vec!["one".to_owned(), "two".to_owned()])];
        identify(
            &mut headers,
            &UserInfo { name: "jane".into(), groups: vec!["g".into()], extra, ..UserInfo::default() },
        );
        let all = |name: &str| headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>();
        assert_eq!((all("x-remote-user"), all("x-remote-group")), (vec!["jane"], vec!["g"]));
        assert_eq!(all("x-remote-extra-example.com%2fscopes"), ["one", "two"]);
        assert!(all("x-remote-extra-a").is_empty());
    }
}
