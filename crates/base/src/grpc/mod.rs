//! gRPC over one HTTP/2 connection, from the client's side: requests and answers are messages with their length in
//! front.

mod answers;
mod failure;
mod line;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::protobuf::{Malformed, Message};
pub use answers::Answers;
pub use failure::{CallError, Code, Failure};
pub use line::Line;

/// Compressed or not, and four bytes of length.
const PREFIX_BYTES: usize = 5;

/// Requests of a stream that wait to be sent; the stream's owner waits beyond that.
const QUEUED_REQUESTS: usize = 4;

/// What notices a silent peer under a call; an idle connection is left alone. Upstream's keepaliveTime and
/// keepaliveTimeout towards etcd.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Room for answers under way: a page of a list, or a burst of events, in one round trip.
const WINDOW_BYTES: u32 = 4 << 20;

type Outgoing = UnsyncBoxBody<Bytes, Infallible>;

/// A connection. Clones share it.
#[derive(Clone)]
pub struct Channel {
    authority: Arc<str>,
    /// Goes with every call.
    metadata: &'static [(&'static str, &'static str)],
    sender: SendRequest<Outgoing>,
}

impl Channel {
    /// Speaks HTTP/2 over a connection that is there. Must be called within a tokio runtime.
    pub async fn over(
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        authority: &str,
        metadata: &'static [(&'static str, &'static str)],
    ) -> Result<Channel, String> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| error.to_string())?;
        // Ends with the last sender and stream, or with the connection.
        crate::task::spawn(connection);
        Ok(Channel { authority: authority.into(), metadata, sender })
    }

    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// One request, one answer. `path` is `/package.Service/Method`.
    pub async fn unary(&self, path: &str, message: &Message) -> Result<Bytes, Failure> {
        let body = Full::new(framed(message)).boxed_unsync();
        let mut answers = Answers::new(self.send(path, body).await?);
        let first = answers.next().await?.ok_or_else(|| Failure::Broken("an empty answer".into()))?;
        // The status comes last.
        match answers.next().await? {
            None => Ok(first),
            Some(_) => Err(Malformed.into()),
        }
    }

    /// A call with many requests and many answers, until either side drops it.
    pub async fn stream(&self, path: &str, first: &Message) -> Result<Stream, Failure> {
        let (requests, queue) = mpsc::channel(QUEUED_REQUESTS);
        requests.try_send(framed(first)).expect("an empty queue takes one");
        let response = self.send(path, Queue(queue).boxed_unsync()).await?;
        Ok(Stream { requests, answers: Answers::new(response) })
    }

    async fn send(&self, path: &str, body: Outgoing) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::post(format!("http://{}{path}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in self.metadata {
            request = request.header(*name, *value);
        }
        let request = request.body(body).map_err(|error| Failure::Broken(error.to_string()))?;
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(failure::broken)?;
        let response = sender.send_request(request).await.map_err(failure::broken)?;
        if response.status() != http::StatusCode::OK {
            return Err(Failure::Broken(format!("HTTP status {}", response.status())));
        }
        // An answer without a body has its status in front.
        failure::check(response.headers())?;
        Ok(response)
    }
}

/// Both sides of a call under way.
pub struct Stream {
    pub requests: mpsc::Sender<Bytes>,
    pub answers: Answers,
}

/// A message as it goes over the wire.
pub fn framed(message: &Message) -> Bytes {
    let message = message.as_bytes();
    let mut frame = Vec::with_capacity(PREFIX_BYTES + message.len());
    frame.push(0);
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame.into()
}

/// The requests of a stream as a body.
struct Queue(mpsc::Receiver<Bytes>);

impl Body for Queue {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
    }
}
