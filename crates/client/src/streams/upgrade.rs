//! The HTTP/1.1 upgrade that every streaming protocol starts with.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::transport::{Body, empty, full};

use super::{Connection, StreamError};

/// What a request wants to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    WebSocket,
    Spdy,
}

/// The upgrade a request asks for, if it is one we speak.
pub fn requested(headers: &HeaderMap) -> Option<Protocol> {
    if !is_upgrade(headers) {
        return None;
    }
    match headers.get(UPGRADE)?.to_str().ok()?.to_ascii_lowercase().as_str() {
        "websocket" => Some(Protocol::WebSocket),
        "spdy/3.1" => Some(Protocol::Spdy),
        _ => None,
    }
}

/// Whether `Connection` names an upgrade, of whatever protocol.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    tokens(headers, CONNECTION.as_str()).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

/// All comma-separated values of a header, in order.
pub fn tokens<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// The connection below an upgraded request or response, once the 101 has passed.
pub async fn connection(pending: OnUpgrade) -> Result<Connection, StreamError> {
    Ok(Box::new(TokioIo::new(pending.await?)))
}

/// `101 Switching Protocols`.
pub fn switching(protocol: &'static str) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(protocol));
    response
}

/// A refusal as plain text, as Go's `http.Error` writes it.
pub fn refuse(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(full(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// The beginning of a body, as far as it came: for errors that are to be told.
pub async fn read_prefix(mut body: Body, limit: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
        if bytes.len() >= limit {
            bytes.truncate(limit);
            break;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_request_wants() {
        for (connection, upgrade, wanted) in [
            ("Upgrade", "websocket", Some(Protocol::WebSocket)),
            ("keep-alive, Upgrade", "WebSocket", Some(Protocol::WebSocket)),
            ("upgrade", "SPDY/3.1", Some(Protocol::Spdy)),
            ("upgrade", "h2c", None),
            ("keep-alive", "websocket", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, connection.parse().expect("header"));
            headers.insert(UPGRADE, upgrade.parse().expect("header"));
            assert_eq!(requested(&headers), wanted, "{connection} {upgrade}");
        }
    }
}
