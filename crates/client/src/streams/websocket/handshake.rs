//! The opening handshake and sub-protocol choice.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::streams::StreamError;
use crate::streams::upgrade::{refuse, switching, tokens};
use crate::transport::Body;

const KEY: &str = "sec-websocket-key";
const ACCEPT: &str = "sec-websocket-accept";
const PROTOCOL: &str = "sec-websocket-protocol";
const VERSION: &str = "sec-websocket-version";

/// Appended to the client's key before hashing (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A sub-protocol this server speaks; the empty name stands for a client that asks for none.
pub type Offer = &'static str;

/// Answers a client's handshake: the 101 and the chosen protocol, or the refusal to send.
///
/// The client's order of preference decides, as in `golang.org/x/net/websocket` under
/// `k8s.io/streaming/pkg/httpstream/wsstream`.
pub fn accept(headers: &HeaderMap, offers: &[Offer]) -> Result<(Response<Body>, Offer), Box<Response<Body>>> {
    let refusal = |status, text: &str| Err(Box::new(refuse(status, text)));
    let Some(key) = headers.get(KEY).filter(|key| !key.is_empty()) else {
        return refusal(StatusCode::BAD_REQUEST, "unable to upgrade: Sec-WebSocket-Key is missing");
    };
    if headers.get(VERSION).is_none_or(|version| version != "13") {
        return refusal(StatusCode::BAD_REQUEST, "unable to upgrade: unsupported WebSocket version");
    }
    let asked: Vec<&str> = tokens(headers, PROTOCOL).collect();
    let wanted = if asked.is_empty() { &[""][..] } else { &asked[..] };
    let Some(chosen) = wanted.iter().find_map(|name| offers.iter().find(|offer| offer == &name)).copied() else {
        let text = format!("requested protocol(s) are not supported: {asked:?}; supports {offers:?}");
        return refusal(StatusCode::FORBIDDEN, &text);
    };
    let mut response = switching("websocket");
    let answer = HeaderValue::try_from(accept_key(key.as_bytes())).expect("base64 is a header value");
    response.headers_mut().insert(ACCEPT, answer);
    if !chosen.is_empty() {
        response.headers_mut().insert(PROTOCOL, HeaderValue::from_static(chosen));
    }
    Ok((response, chosen))
}

/// Headers of a client's handshake, and the key to check the answer with.
pub fn request_headers(protocols: &[&str]) -> (HeaderMap, String) {
    let nonce: [u8; 16] = orlop_base::id::with_rng(|rng| rng.u128(..)).to_be_bytes();
    let key = STANDARD.encode(nonce);
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(http::header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(VERSION, HeaderValue::from_static("13"));
    headers.insert(KEY, HeaderValue::try_from(&key).expect("base64 is a header value"));
    for protocol in protocols {
        headers.append(PROTOCOL, HeaderValue::try_from(*protocol).expect("protocol names are tokens"));
    }
    (headers, key)
}

/// Checks a server's 101 and returns the sub-protocol it chose, empty for none.
pub fn check_response(response: &Response<Body>, key: &str) -> Result<String, StreamError> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(StreamError::Upgrade(format!("unexpected status {}", response.status())));
    }
    if header(ACCEPT) != accept_key(key.as_bytes()) {
        return Err(StreamError::Upgrade("Sec-WebSocket-Accept does not match".into()));
    }
    Ok(header(PROTOCOL).to_owned())
}

fn accept_key(key: &[u8]) -> String {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key);
    digest.update(GUID);
    STANDARD.encode(digest.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_key_of_the_rfc() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_clients_first_known_protocol_wins() {
        let offers = ["", "channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"];
        for (asked, chosen) in [
            (vec!["v5.channel.k8s.io,v4.channel.k8s.io"], Some("v5.channel.k8s.io")),
            (vec!["x", "v4.channel.k8s.io", "v5.channel.k8s.io"], Some("v4.channel.k8s.io")),
            (vec![], Some("")),
            (vec!["x"], None),
        ] {
            let (headers, key) = request_headers(&asked);
            match accept(&headers, &offers) {
                Ok((response, got)) => {
                    assert_eq!(Some(got), chosen, "{asked:?}");
                    assert_eq!(check_response(&response, &key).expect("accepted"), got);
                }
                Err(response) => {
                    assert_eq!(chosen, None, "{asked:?}");
                    assert_eq!(response.status(), StatusCode::FORBIDDEN);
                }
            }
        }
    }
}
