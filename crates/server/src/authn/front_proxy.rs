//! Users that a trusted proxy vouches for in headers
//! (`apiserver/pkg/authentication/request/headerrequest`).

use std::sync::Arc;

use http::HeaderMap;
use orlop_client::transport::UserInfo;
use rustls::server::danger::ClientCertVerifier;

use super::{Refused, x509};
use crate::auth::Peer;
use crate::request::percent_decode;

const USER: &str = "x-remote-user";
const UID: &str = "x-remote-uid";
const GROUP: &str = "x-remote-group";
const EXTRA_PREFIX: &str = "x-remote-extra-";

/// Common names of the certificates that may vouch.
pub(super) const ALLOWED_NAMES: [&str; 1] = ["front-proxy-client"];

pub struct FrontProxy {
    verifier: Arc<dyn ClientCertVerifier>,
}

impl FrontProxy {
    pub fn new(verifier: Arc<dyn ClientCertVerifier>) -> Self {
        Self { verifier }
    }

    pub(super) fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Result<Option<UserInfo>, Refused> {
        let Some(name) = text(headers, USER) else { return Ok(None) };
        // Anybody may send the headers; who is no proxy is asked for other credentials.
        if x509::verify(&self.verifier, peer).is_err() {
            return Ok(None);
        }
        if !x509::common_name(peer).is_some_and(|name| ALLOWED_NAMES.contains(&&*name)) {
            return Err(Refused);
        }
        let groups = headers.get_all(GROUP).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Some(UserInfo {
            name,
            uid: text(headers, UID).unwrap_or_default(),
            groups: groups.collect(),
            extra: extra(headers, EXTRA_PREFIX),
        }))
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().filter(|value| !value.is_empty()).map(str::to_owned)
}

/// All `<prefix><key>: value` headers, by key; keys are percent-encoded.
fn extra(headers: &HeaderMap, prefix: &str) -> Vec<(String, Vec<String>)> {
    let mut all: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    for (name, value) in headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(prefix), value.to_str()) {
            all.entry(percent_decode(key, false).to_lowercase()).or_default().push(value.to_owned());
        }
    }
    all.into_iter().collect()
}
