//! `nodes/proxy`, `pods/proxy`, `services/proxy`: any method, any path, upgrades too
//! (`apimachinery/pkg/util/proxy`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use orlop_api::status::StatusError;
use orlop_client::streams::upgrade;
use orlop_client::transport::{Body, BoxError, empty};

use super::dial::{Dialer, Target};
use super::html::HtmlRewriter;
use super::rewrite::Rewrite;
use super::{Connections, forward, location};
use crate::Server;
use crate::call::Call;
use crate::extend::Connector;

pub(super) struct Proxy {
    pub connections: Arc<Connections>,
    pub kind: location::Kind,
}

impl Connector for Proxy {
    fn serve(
        &self,
        _server: &Arc<Server>,
        mut call: Call,
        body: Body,
    ) -> BoxFuture<'static, Result<Response<Body>, StatusError>> {
        let (connections, kind) = (self.connections.clone(), self.kind);
        Box::pin(async move {
            let (target, is_kubelet) = location::resolve(&connections, kind, &call.info)?;
            let dialer = if is_kubelet { &connections.kubelet } else { &connections.proxy };
            let (prefix, tail) = split_path(call.head.uri.path(), kind);
            if upgrade::is_upgrade(&call.head.headers) {
                let path = with_query(&call.head, if tail.is_empty() { "/" } else { tail });
                return forward::upgraded(dialer, &target, &mut call.head, &path).await;
            }
            if tail.is_empty() && matches!(call.head.method, Method::GET | Method::HEAD) {
                return Ok(to_directory(&call.head));
            }
            plain(dialer, &target, &call.head, prefix, tail, body).await
        })
    }
}

/// Segments up to and including `proxy`: `/api/v1/namespaces/NS/pods/NAME/proxy`,
/// `/api/v1/nodes/NAME/proxy`.
fn split_path(path: &str, kind: location::Kind) -> (&str, &str) {
    let segments = if kind == location::Kind::Node { 5 } else { 7 };
    let end = path.match_indices('/').map(|(at, _)| at).nth(segments).unwrap_or(path.len());
    path.split_at(end)
}

fn with_query(head: &Parts, path: &str) -> String {
    match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// Relative links of a page work only when its path ends with a slash.
fn to_directory(head: &Parts) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let location = with_query(head, &format!("{}/", head.uri.path()));
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

pub(super) async fn plain(
    dialer: &Dialer,
    target: &Target,
    head: &Parts,
    prefix: &str,
    tail: &str,
    body: Body,
) -> Result<Response<Body>, StatusError> {
    let path = if tail.is_empty() { "/" } else { tail };
    let mut request = forward::request(head, &with_query(head, path), body)?;
    let headers = request.headers_mut();
    // A compressed page could not be rewritten.
    headers.remove(header::ACCEPT_ENCODING);
    if let Ok(uri) = HeaderValue::from_str(&format!("{prefix}{path}")) {
        headers.insert("x-forwarded-uri", uri);
    }
    let caller = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let rewrite = Rewrite { prefix: prefix.to_owned(), backend: target.to_string(), caller };
    let response = dialer.send(target, request).await;
    let response =
        response.map_err(|error| StatusError::unavailable(format!("error trying to reach service: {error}")))?;
    Ok(rewritten(response, rewrite))
}

fn rewritten(mut response: Response<Body>, rewrite: Rewrite) -> Response<Body> {
    let headers = response.headers_mut();
    forward::remove_hop_headers(headers);
    for name in ["credentials", "headers", "methods", "origin"] {
        headers.remove(format!("access-control-allow-{name}"));
    }
    if let Some(location) = headers.get(header::LOCATION).and_then(|location| location.to_str().ok()) {
        if let Ok(location) = HeaderValue::from_str(&rewrite.url(location)) {
            headers.insert(header::LOCATION, location);
        }
        return response;
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    if media_type != "text/html" || !text(header::CONTENT_ENCODING).is_empty() {
        return response;
    }
    headers.remove(header::CONTENT_LENGTH);
    response.map(|inner| Page { inner, rewriter: HtmlRewriter::new(rewrite), ended: false }.boxed_unsync())
}

/// An HTML body with its URLs rewritten.
struct Page {
    inner: Body,
    rewriter: HtmlRewriter,
    ended: bool,
}

impl http_body::Body for Page {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        while !self.ended {
            let written = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.rewriter.push(&bytes),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.ended = true;
                    self.rewriter.finish()
                }
            };
            if !written.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(written.into()))));
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_after_the_proxy() {
        for (path, kind, prefix, tail) in [
            ("/api/v1/namespaces/a/pods/p:80/proxy", location::Kind::Pod, "/api/v1/namespaces/a/pods/p:80/proxy", ""),
            (
                "/api/v1/namespaces/a/services/s/proxy/",
                location::Kind::Service,
                "/api/v1/namespaces/a/services/s/proxy",
                "/",
            ),
            ("/api/v1/nodes/n/proxy/logs/a%2Fb", location::Kind::Node, "/api/v1/nodes/n/proxy", "/logs/a%2Fb"),
        ] {
            assert_eq!(split_path(path, kind), (prefix, tail), "{path}");
        }
    }
}
