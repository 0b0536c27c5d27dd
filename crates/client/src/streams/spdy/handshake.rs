//! The upgrade to SPDY and the choice of a stream protocol
//! (`k8s.io/streaming/pkg/httpstream`).

use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::streams::upgrade::{refuse, switching, tokens};
use crate::transport::Body;

const PROTOCOL_VERSION: &str = "x-stream-protocol-version";
const ACCEPTED_VERSIONS: &str = "x-accepted-stream-protocol-versions";

/// Answers an upgrade request: the 101 and the chosen protocol, or the refusal to send.
/// The client's order of preference decides.
pub fn accept(
    headers: &HeaderMap,
    offers: &[&'static str],
) -> Result<(Response<Body>, &'static str), Box<Response<Body>>> {
    let asked: Vec<&str> = tokens(headers, PROTOCOL_VERSION).collect();
    if asked.is_empty() {
        let text = "unable to upgrade: header X-Stream-Protocol-Version does not exist in request";
        return Err(Box::new(refuse(StatusCode::BAD_REQUEST, text)));
    }
    let Some(chosen) = asked.iter().find_map(|name| offers.iter().find(|offer| offer == &name)).copied() else {
        let text = format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
            asked.join(" "),
            offers.join(" ")
        );
        let mut response = refuse(StatusCode::FORBIDDEN, &text);
        for offer in offers {
            response.headers_mut().append(ACCEPTED_VERSIONS, HeaderValue::from_static(offer));
        }
        return Err(Box::new(response));
    };
    let mut response = switching("SPDY/3.1");
    response.headers_mut().insert(PROTOCOL_VERSION, HeaderValue::from_static(chosen));
    Ok((response, chosen))
}

/// Adds what a client asks with.
pub fn ask(headers: &mut HeaderMap, protocols: &[&'static str]) {
    headers.insert(http::header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(http::header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    for protocol in protocols {
        headers.append(PROTOCOL_VERSION, HeaderValue::from_static(protocol));
    }
}

/// The protocol a server's 101 names, empty for none.
pub fn chosen(response: &Response<Body>) -> String {
    let header = response.headers().get(PROTOCOL_VERSION).and_then(|value| value.to_str().ok());
    header.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiates_in_the_clients_order() {
        let offers = ["v4.channel.k8s.io", "v3.channel.k8s.io"];
        for (asked, status) in
            [(vec!["v5.channel.k8s.io", "v4.channel.k8s.io"], 101), (vec!["v9.channel.k8s.io"], 403), (vec![], 400)]
        {
            let mut headers = HeaderMap::new();
            ask(&mut headers, &asked);
            let response = accept(&headers, &offers).map_or_else(|refusal| *refusal, |(response, _)| response);
            assert_eq!(response.status().as_u16(), status, "{asked:?}");
        }
    }
}
