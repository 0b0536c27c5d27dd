//! Where a request carries its token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use orlop_client::streams::upgrade;

/// Browsers cannot set headers on a WebSocket; this sub-protocol's name carries the token instead
/// (`apiserver/pkg/authentication/request/websocket`).
const WEBSOCKET_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// The bearer token of a request, if it has one.
pub fn bearer_token(headers: &HeaderMap) -> Option<String> {
    from_authorization(headers).or_else(|| from_websocket(headers))
}

/// `Authorization: Bearer x`. More than one space before the token makes it none, as upstream.
fn from_authorization(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let mut parts = value.splitn(3, ' ');
    let (scheme, token) = (parts.next()?, parts.next()?);
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

fn from_websocket(headers: &HeaderMap) -> Option<String> {
    if upgrade::requested(headers) != Some(upgrade::Protocol::WebSocket) {
        return None;
    }
    let mut protocols = upgrade::tokens(headers, "sec-websocket-protocol");
    let encoded = protocols.find_map(|protocol| protocol.strip_prefix(WEBSOCKET_PREFIX))?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok().filter(|token| !token.is_empty())
}
