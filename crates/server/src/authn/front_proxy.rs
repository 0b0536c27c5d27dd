//! Users that a trusted proxy vouches for in headers
//! (`apiserver/pkg/authentication/request/headerrequest`).

use std::sync::Arc;

use http::HeaderMap;
use orlop_client::transport::UserInfo;

use super::{Authorities, Refused, x509};
use crate::auth::Peer;
use crate::request::percent_decode;

/// Which headers say what, in any case; the first that is there counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeaders {
    pub username: Vec<String>,
    pub uid: Vec<String>,
    pub group: Vec<String>,
    pub extra_prefix: Vec<String>,
    /// Common names of the certificates that may vouch; empty: all of the authority's.
    pub allowed_names: Vec<String>,
}

impl Default for RequestHeaders {
    fn default() -> Self {
        let one = |text: &str| vec![text.to_owned()];
        Self {
            username: one("X-Remote-User"),
            uid: one("X-Remote-Uid"),
            group: one("X-Remote-Group"),
            extra_prefix: one("X-Remote-Extra-"),
            allowed_names: one("front-proxy-client"),
        }
    }
}

pub struct FrontProxy {
    authorities: Arc<Authorities>,
    headers: RequestHeaders,
}

impl FrontProxy {
    pub fn new(authorities: Arc<Authorities>, headers: RequestHeaders) -> Self {
        Self { authorities, headers }
    }

    pub(super) fn identify(&self, peer: &Peer, sent: &HeaderMap) -> Result<Option<UserInfo>, Refused> {
        let first = |names: &[String]| names.iter().find_map(|name| text(sent, name));
        let Some(name) = first(&self.headers.username) else { return Ok(None) };
        // Anybody may send the headers; who is no proxy is asked for other credentials.
        if x509::verify(&self.authorities.verifier(), peer).is_err() {
            return Ok(None);
        }
        let allowed = &self.headers.allowed_names;
        if !allowed.is_empty() && !x509::common_name(peer).is_some_and(|name| allowed.contains(&name)) {
            return Err(Refused);
        }
        let groups = self.headers.group.iter().flat_map(|name| sent.get_all(name));
        let groups = groups.filter_map(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Some(UserInfo {
            name,
            uid: first(&self.headers.uid).unwrap_or_default(),
            groups: groups.collect(),
            extra: extra(sent, &self.headers.extra_prefix),
        }))
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().filter(|value| !value.is_empty()).map(str::to_owned)
}

/// All `<prefix><key>: value` headers, by key; keys are percent-encoded.
fn extra(headers: &HeaderMap, prefixes: &[String]) -> Vec<(String, Vec<String>)> {
    let mut all: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    let prefixes: Vec<String> = prefixes.iter().map(|prefix| prefix.to_lowercase()).collect();
    for (name, value) in headers {
        let key = prefixes.iter().find_map(|prefix| name.as_str().strip_prefix(&**prefix));
        if let (Some(key), Ok(value)) = (key, value.to_str()) {
            all.entry(percent_decode(key, false).to_lowercase()).or_default().push(value.to_owned());
        }
    }
    all.into_iter().collect()
}
