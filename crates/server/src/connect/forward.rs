//! Handing a request on, upgraded or not.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use orlop_api::status::StatusError;
use orlop_client::streams::upgrade;
use orlop_client::transport::{Body, empty};

use super::dial::{DialError, Dialer, Target};
use crate::audit::Trail;
use crate::auth::Peer;

/// What concerns the caller and this server only.
const OWN_HEADERS: [HeaderName; 2] = [header::AUTHORIZATION, header::COOKIE];

/// What concerns one connection only (RFC 9110, section 7.6.1).
const HOP_HEADERS: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The caller's request as it goes to the other end.
pub(super) fn request(head: &Parts, path_and_query: &str, body: Body) -> Result<Request<Body>, StatusError> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    let uri = path_and_query.parse();
    *request.uri_mut() = uri.map_err(|_| StatusError::bad_request(format!("invalid path {path_and_query:?}")))?;
    *request.headers_mut() = head.headers.clone();
    let headers = request.headers_mut();
    for name in OWN_HEADERS {
        headers.remove(name);
    }
    if !upgrade::is_upgrade(headers) {
        remove_hop_headers(headers);
    }
    if !headers.contains_key(header::HOST) {
        // HTTP/2 carries it in the URI.
        let authority = head.uri.authority().map_or("", http::uri::Authority::as_str);
        if let Ok(host) = HeaderValue::from_str(authority) {
            headers.insert(header::HOST, host);
        }
    }
    add_forwarded_for(headers, head);
    Ok(request)
}

pub(super) fn remove_hop_headers(headers: &mut HeaderMap) {
    let named: Vec<String> = upgrade::tokens(headers, header::CONNECTION.as_str()).map(str::to_lowercase).collect();
    for name in HOP_HEADERS.into_iter().chain(named.iter().map(String::as_str)) {
        headers.remove(name);
    }
}

fn add_forwarded_for(headers: &mut HeaderMap, head: &Parts) {
    let Some(address) = head.extensions.get::<Peer>().and_then(|peer| peer.address) else { return };
    let mut chain: Vec<&str> = upgrade::tokens(headers, FORWARDED_FOR).collect();
    let address = address.ip().to_string();
    chain.push(&address);
    if let Ok(value) = HeaderValue::from_str(&chain.join(", ")) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// Asks the other end for the upgrade that the caller asks for. When it agrees, both connections
/// are joined; when it refuses, its answer is the caller's.
pub(super) async fn upgraded(
    dialer: &Dialer,
    target: &Target,
    head: &mut Parts,
    path_and_query: &str,
) -> Result<Response<Body>, StatusError> {
    let request = request(head, path_and_query, empty())?;
    let caller = take_upgrade(head);
    let mut response = dialer.send(target, request).await.map_err(|error| dialing_failed(&error))?;
    let status = response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        if !status.is_client_error() && !status.is_server_error() {
            let text = format!("invalid upgrade response: status code {}", status.as_u16());
            return Err(StatusError::new(500, "", text));
        }
        remove_hop_headers(response.headers_mut());
        return Ok(response);
    }
    let Some(caller) = caller else {
        return Err(StatusError::new(500, "", "request connection cannot be hijacked"));
    };
    let backend = hyper::upgrade::on(&mut response);
    // The record of the request is complete when the connections are.
    let trail = head.extensions.remove::<Trail>();
    orlop_base::task::spawn(async move {
        join(caller, backend).await;
        drop(trail);
    });
    let (mut answer, _) = response.into_parts();
    // The two connections' own marks are not the caller's.
    answer.extensions.clear();
    Ok(Response::from_parts(answer, empty()))
}

fn take_upgrade(head: &mut Parts) -> Option<OnUpgrade> {
    head.extensions.remove::<OnUpgrade>()
}

/// Bytes of a keystroke or of a file: a buffer that one TLS record fits into twice.
const COPY_BUFFER: usize = 32 * 1024;

/// Copies both ways until both sides are done; an end on one side is told to the other.
async fn join(caller: OnUpgrade, backend: OnUpgrade) {
    let result = async {
        let (caller, backend) = tokio::try_join!(caller, backend).map_err(std::io::Error::other)?;
        let (mut caller, mut backend) = (TokioIo::new(caller), TokioIo::new(backend));
        tokio::io::copy_bidirectional_with_sizes(&mut caller, &mut backend, COPY_BUFFER, COPY_BUFFER).await
    };
    if let Err(error) = result.await {
        tracing::debug!(%error, "joined connections ended");
    }
}

pub(super) fn dialing_failed(error: &DialError) -> StatusError {
    StatusError::new(500, "", format!("error dialing backend: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_one_connection_stay_on_it() {
        let mut head = Request::get("/x")
            .header("connection", "close, x-private")
            .header("x-private", "1")
            .header("authorization", "Bearer secret")
            .header("te", "trailers")
            .header("x-forwarded-for", "192.0.2.1")
            .header("accept", "text/html")
            .body(())
            .expect("request")
            .into_parts()
            .0;
        let address = "198.51.100.7:1234".parse().expect("address");
        head.extensions.insert(Peer { address: Some(address), ..Peer::default() });
        let sent = request(&head, "/y?z=1", empty()).expect("request");
        assert_eq!(sent.uri(), "/y?z=1");
        let names: Vec<&str> = sent.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(
            names,
            ["x-forwarded-for", "accept", "host"]
                .into_iter()
                .filter(|n| sent.headers().contains_key(*n))
                .collect::<Vec<_>>()
        );
        assert_eq!(sent.headers()["x-forwarded-for"], "192.0.2.1, 198.51.100.7");
        assert!(!sent.headers().contains_key("authorization"));
    }
}
