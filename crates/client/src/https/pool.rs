//! Connections to one server, shared.
//!
//! HTTP/2 carries everything: one connection mostly, another when one holds as many streams as a
//! server may allow. HTTP/1.1 connections are for upgrades (never shared) and for servers that
//! offer nothing better (a few kept idle).

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioExecutor;

use super::connect::Target;
use crate::transport::{Body, BoxError, NotSent};

/// Upstream servers allow 100 streams (`--http2-max-streams-per-connection`'s Go default is 250;
/// golang's and hyper's peers 100 to 200): below all of them.
const MAX_STREAMS: usize = 100;

const MAX_IDLE_HTTP1: usize = 4;

/// Windows large enough that a list of megabytes is not paced by round trips.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// A request body whose error has a name of its own.
struct Outgoing(Body);

#[derive(Debug, thiserror::Error)]
#[error("sending the request body: {0}")]
pub(super) struct BodyError(BoxError);

pub(super) struct Pool {
    target: Target,
    idle: Mutex<Idle>,
    /// One connection is made at a time: the requests that wait for it then share it.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Idle {
    http2: Vec<Shared>,
    http1: Vec<http1::SendRequest<Outgoing>>,
}

#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<Outgoing>,
    /// One clone per stream under way, and one here.
    streams: Arc<()>,
}

/// How a request goes out.
enum Route {
    Http2(Shared),
    Http1(http1::SendRequest<Outgoing>),
}

impl Pool {
    pub fn new(target: Target) -> Self {
        Self { target, idle: Mutex::default(), connecting: tokio::sync::Mutex::new(()) }
    }

    pub fn set_tls(&self, tls: &rustls::ClientConfig) {
        self.target.set_tls(tls);
        *self.idle() = Idle::default();
    }

    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let mut request = request.map(Outgoing);
        let uri = request.uri().clone();
        loop {
            let (route, fresh) = self.route().await.map_err(|e| NotSent(e.into()))?;
            // A kept connection may have died unnoticed; the request comes back and goes again.
            match self.send_on(route, request).await {
                Ok(response) => return Ok(response),
                Err((error, None)) => return Err(error),
                Err((error, Some(_))) if fresh => return Err(NotSent(error).into()),
                Err((_, Some(unsent))) => {
                    request = unsent;
                    *request.uri_mut() = uri.clone();
                }
            }
        }
    }

    /// On a connection of its own; an upgraded stream lives as long as it is held.
    pub async fn send_upgrade(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (io, _) = self.target.connect(true).await.map_err(|e| NotSent(e.into()))?;
        let (mut sender, connection) = http1::handshake::<_, Outgoing>(io).await.map_err(|e| NotSent(e.into()))?;
        orlop_base::task::spawn(connection.with_upgrades());
        let response = sender.send_request(origin_form(request.map(Outgoing))).await?;
        // The sender must outlive a plain answer's body.
        Ok(response.map(|body| Tracked { body, _held: sender }.boxed_unsync()))
    }

    async fn route(&self) -> std::io::Result<(Route, bool)> {
        if let Some(route) = self.kept() {
            return Ok((route, false));
        }
        let _alone = self.connecting.lock().await;
        if let Some(route) = self.kept() {
            return Ok((route, false));
        }
        let (io, http2) = self.target.connect(false).await?;
        if !http2 {
            let (sender, connection) = http1::handshake(io).await.map_err(std::io::Error::other)?;
            orlop_base::task::spawn(connection);
            return Ok((Route::Http1(sender), true));
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(io)
            .await
            .map_err(std::io::Error::other)?;
        orlop_base::task::spawn(connection);
        let shared = Shared { sender, streams: Arc::new(()) };
        self.idle().http2.push(shared.clone());
        Ok((Route::Http2(shared), true))
    }

    fn kept(&self) -> Option<Route> {
        let mut idle = self.idle();
        idle.http2.retain(|c| !c.sender.is_closed());
        if let Some(shared) = idle.http2.iter().find(|c| Arc::strong_count(&c.streams) <= MAX_STREAMS) {
            return Some(Route::Http2(shared.clone()));
        }
        while let Some(sender) = idle.http1.pop() {
            if sender.is_ready() {
                return Some(Route::Http1(sender));
            }
        }
        None
    }

    async fn send_on(
        &self,
        route: Route,
        request: Request<Outgoing>,
    ) -> Result<Response<Body>, (BoxError, Option<Request<Outgoing>>)> {
        match route {
            Route::Http2(mut shared) => match shared.sender.try_send_request(request).await {
                Ok(response) => Ok(tracked(response, shared.streams)),
                Err(mut failed) => {
                    let unsent = failed.take_message();
                    Err((failed.into_error().into(), unsent))
                }
            },
            Route::Http1(mut sender) => match sender.try_send_request(origin_form(request)).await {
                Ok(response) => {
                    let mut idle = self.idle();
                    if idle.http1.len() < MAX_IDLE_HTTP1 {
                        // Not ready before the body is read; `kept` looks.
                        idle.http1.push(sender);
                        Ok(tracked(response, ()))
                    } else {
                        Ok(tracked(response, sender))
                    }
                }
                Err(mut failed) => {
                    let unsent = failed.take_message();
                    Err((failed.into_error().into(), unsent))
                }
            },
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(BodyError)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// HTTP/1.1 wants only the path in the request line.
fn origin_form(mut request: Request<Outgoing>) -> Request<Outgoing> {
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = http::Uri::from(path);
    }
    request
}

fn tracked<T: Send + Unpin + 'static>(response: Response<Incoming>, held: T) -> Response<Body> {
    response.map(|body| Tracked { body, _held: held }.boxed_unsync())
}

/// A response body that holds something until it is read or dropped.
struct Tracked<T> {
    body: Incoming,
    _held: T,
}

impl<T: Unpin> HttpBody for Tracked<T> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
