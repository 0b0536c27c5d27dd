//! Getting in: Basic, and the token dance of the distribution specification.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, StatusCode, header};
use serde::Deserialize;

use super::hosts::{Hosts, Remote};
use super::transport::{self, Broken, Http};
use crate::{Credentials, ImageError};

/// Token answers are small.
const TOKEN_BYTES_MAX: usize = 1 << 20;
/// Of servers that ask `oauth2` clients who they are.
const CLIENT_ID: &str = "orlop";

/// What a server asked for in `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    Bearer { realm: String, service: String, scope: String },
}

impl Challenge {
    /// The first challenge of the header that is understood.
    pub fn parse(header: &str) -> Option<Self> {
        let header = header.trim();
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (String::new(), String::new(), String::new());
        let mut rest = rest.trim_start();
        while let Some((key, after)) = rest.split_once('=') {
            let (value, after) = parse_value(after);
            match key.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = value,
                "service" => service = value,
                "scope" => scope = value,
                _ => {}
            }
            rest = after.trim_start_matches([',', ' ']);
        }
        (!realm.is_empty()).then_some(Self::Bearer { realm, service, scope })
    }
}

/// A token or a quoted string, and what follows.
fn parse_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

pub fn basic(credentials: &Credentials) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", credentials.username, credentials.password)))
}

/// The `Authorization` header that answers a challenge; `None` when there is nothing to answer with.
pub async fn answer(
    http: &Http,
    hosts: &Hosts,
    challenge: &Challenge,
    credentials: Option<&Credentials>,
    repository: &str,
) -> Result<Result<Option<String>, Broken>, ImageError> {
    let (realm, service, scope) = match challenge {
        Challenge::Basic => return Ok(Ok(credentials.filter(|c| !c.username.is_empty()).map(basic))),
        Challenge::Bearer { realm, service, scope } => (realm, service, scope),
    };
    let (remote, path) = split_url(realm)
        .ok_or_else(|| ImageError::Registry(format!("token server \"{realm}\" is not an http or https URL")))?;
    let scope = if scope.is_empty() { format!("repository:{repository}:pull") } else { scope.clone() };
    let request = match credentials.filter(|c| !c.identity_token.is_empty()) {
        Some(credentials) => refresh_request(&path, service, &scope, &credentials.identity_token),
        None => token_request(&path, service, &scope, credentials),
    };
    let request = request.map_err(|e| ImageError::Registry(format!("token request: {e}")))?;
    let response = match http.send(&remote, &hosts.tls(&remote), request).await? {
        Ok(response) => response,
        Err(Broken(why)) => return Ok(Err(Broken(format!("token server {}: {why}", remote.authority())))),
    };
    match response.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => return Ok(Ok(None)),
        status => return Ok(Err(Broken(format!("token server {}: {status}", remote.authority())))),
    }
    let body = match http.read(response, TOKEN_BYTES_MAX).await {
        Ok(body) => body,
        Err(broken) => return Ok(Err(broken)),
    };
    let token: Token = serde_json::from_slice(&body)
        .map_err(|e| ImageError::Registry(format!("token server {}: {e}", remote.authority())))?;
    Ok(Ok(token.token.or(token.access_token).filter(|t| !t.is_empty()).map(|token| format!("Bearer {token}"))))
}

fn token_request(
    path: &str,
    service: &str,
    scope: &str,
    credentials: Option<&Credentials>,
) -> Result<Request<transport::Body>, http::Error> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let mut uri = format!("{path}{separator}scope={}", encode(scope));
    if !service.is_empty() {
        uri.push_str(&format!("&service={}", encode(service)));
    }
    let mut request = Request::get(uri);
    if let Some(credentials) = credentials.filter(|c| !c.username.is_empty()) {
        request = request.header(header::AUTHORIZATION, basic(credentials));
    }
    request.body(transport::empty())
}

/// Trades a refresh token for an access token (OAuth 2, as registries speak it).
fn refresh_request(
    path: &str,
    service: &str,
    scope: &str,
    token: &str,
) -> Result<Request<transport::Body>, http::Error> {
    let form = format!(
        "grant_type=refresh_token&refresh_token={}&service={}&scope={}&client_id={CLIENT_ID}",
        encode(token),
        encode(service),
        encode(scope)
    );
    Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(transport::full(form))
}

/// Host and path with query of an absolute URL.
pub fn split_url(url: &str) -> Option<(Remote, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let https = match scheme {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some((Remote::of(https, authority)?, path))
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_as_servers_write_them() {
        let bearer = |realm: &str, service: &str, scope: &str| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.into(), scope: scope.into() })
        };
        for (header, want) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull,push\"",
                bearer("https://auth.docker.io/token", "registry.docker.io", "repository:a/b:pull,push"),
            ),
            ("Bearer realm=https://x/t, service=\"a\\\"b\", error=\"e\"", bearer("https://x/t", "a\"b", "")),
            ("Bearer service=\"x\"", None),
            ("Negotiate", None),
        ] {
            assert_eq!(Challenge::parse(header), want, "{header}");
        }
    }

    #[test]
    fn urls_split_and_text_encodes() {
        let (remote, path) = split_url("https://h:8443/a?b=c").unwrap();
        assert_eq!((remote.authority().as_str(), path.as_str()), ("h:8443", "/a?b=c"));
        assert_eq!(split_url("http://h").unwrap().1, "/");
        assert!(split_url("/relative").is_none());
        assert_eq!(encode("a b:c/d~"), "a%20b%3Ac%2Fd~");
    }
}
