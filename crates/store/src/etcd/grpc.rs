//! gRPC over one HTTP/2 connection: requests and answers are messages with their length in front.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use tokio::sync::mpsc;

use super::proto::{Malformed, Message};

/// Compressed or not, and four bytes of length.
const PREFIX_BYTES: usize = 5;

/// Larger than any page of objects that etcd's limit of 1.5 MiB allows for.
const MAX_ANSWER_BYTES: usize = 1 << 30;

/// Requests of a stream that wait to be sent; the stream's owner waits beyond that.
const QUEUED_REQUESTS: usize = 4;

const OK: u32 = 0;
const INVALID_ARGUMENT: u32 = 3;
const DEADLINE_EXCEEDED: u32 = 4;
const RESOURCE_EXHAUSTED: u32 = 8;
const OUT_OF_RANGE: u32 = 11;
const UNAVAILABLE: u32 = 14;

/// Why a call has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// No connection came about: nothing was sent.
    #[error("connecting to {endpoint}: {why}")]
    Unreachable { endpoint: String, why: String },
    /// Maybe carried out.
    #[error("the connection to etcd broke: {0}")]
    Broken(String),
    /// Maybe carried out.
    #[error("etcd did not answer in time")]
    TimedOut,
    /// etcd's own words.
    #[error("{message}")]
    Refused { code: u32, message: String },
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Failure {
    /// Whether another member, or this one a moment later, may do it.
    pub fn is_passing(&self) -> bool {
        match self {
            Failure::Unreachable { .. } | Failure::Broken(_) | Failure::TimedOut => true,
            Failure::Refused { code, message } => {
                matches!(*code, UNAVAILABLE | DEADLINE_EXCEEDED)
                    || *code == RESOURCE_EXHAUSTED && message.contains("too many requests")
            }
            Failure::Malformed(_) => false,
        }
    }

    /// Whether etcd may have done, or may yet do, what it was asked.
    pub fn is_doubtful(&self) -> bool {
        !matches!(self, Failure::Unreachable { .. })
    }

    /// "etcdserver: request is too large", or half a MiB later "grpc: received message larger than max".
    pub fn is_too_large(&self) -> bool {
        match self {
            Failure::Refused { code: INVALID_ARGUMENT, message } => message.contains("too large"),
            Failure::Refused { code: RESOURCE_EXHAUSTED, message } => message.contains("larger than max"),
            _ => false,
        }
    }

    /// "etcdserver: mvcc: required revision has been compacted".
    pub fn is_compacted(&self) -> bool {
        matches!(self, Failure::Refused { code: OUT_OF_RANGE, message } if message.contains("compacted"))
    }
}

pub(crate) type Outgoing = UnsyncBoxBody<Bytes, Infallible>;
pub(crate) type Sender = SendRequest<Outgoing>;

/// One request, one answer.
pub(crate) async fn unary(sender: Sender, authority: &str, path: &str, message: &Message) -> Result<Bytes, Failure> {
    let body = Full::new(framed(message)).boxed_unsync();
    let response = send(sender, authority, path, body).await?;
    let mut answers = Answers::new(response);
    let first = answers.next().await?.ok_or_else(|| Failure::Broken("an empty answer".into()))?;
    // The status comes last.
    match answers.next().await? {
        None => Ok(first),
        Some(_) => Err(Malformed.into()),
    }
}

/// A call with many requests and many answers, until either side drops it.
pub(crate) struct Stream {
    pub requests: mpsc::Sender<Bytes>,
    pub answers: Answers,
}

pub(crate) async fn stream(sender: Sender, authority: &str, path: &str, first: &Message) -> Result<Stream, Failure> {
    let (requests, queue) = mpsc::channel(QUEUED_REQUESTS);
    requests.try_send(framed(first)).expect("an empty queue takes one");
    let response = send(sender, authority, path, Queue(queue).boxed_unsync()).await?;
    Ok(Stream { requests, answers: Answers::new(response) })
}

/// A message as it goes over the wire.
pub(crate) fn framed(message: &Message) -> Bytes {
    let message = message.as_bytes();
    let mut frame = Vec::with_capacity(PREFIX_BYTES + message.len());
    frame.push(0);
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame.into()
}

async fn send(mut sender: Sender, authority: &str, path: &str, body: Outgoing) -> Result<Response<Incoming>, Failure> {
    let request = Request::post(format!("http://{authority}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        // A member cut off from the others says so at once instead of trying (clientv3.WithRequireLeader).
        .header("hasleader", "true")
        .body(body)
        .map_err(|error| Failure::Broken(error.to_string()))?;
    sender.ready().await.map_err(broken)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    if response.status() != http::StatusCode::OK {
        return Err(Failure::Broken(format!("HTTP status {}", response.status())));
    }
    // An answer without a body has its status in front.
    check(response.headers())?;
    Ok(response)
}

fn broken(error: hyper::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Failure::Broken(text)
}

/// The status among these headers, if it is there and bad.
fn check(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(code) = text("grpc-status") else { return Ok(()) };
    match code.parse() {
        Ok(OK) => Ok(()),
        Ok(code) => Err(Failure::Refused { code, message: unescaped(text("grpc-message").unwrap_or_default()) }),
        Err(_) => Err(Malformed.into()),
    }
}

/// `grpc-message` is percent-encoded.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Messages coming in.
pub(crate) struct Answers {
    body: Incoming,
    buffer: BytesMut,
}

impl Answers {
    fn new(response: Response<Incoming>) -> Answers {
        Answers { body: response.into_body(), buffer: BytesMut::new() }
    }

    /// `None` after the last. Safe to cancel.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Failure::Broken("an answer was cut off".into())),
                Some(Err(error)) => return Err(broken(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => frame.trailers_ref().map_or(Ok(()), check)?,
                },
            }
        }
    }

    /// The message at the buffer's start, if it is whole.
    fn take(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        // Nobody compresses what nobody offered to read.
        if prefix[0] != 0 || length > MAX_ANSWER_BYTES {
            return Err(Malformed.into());
        }
        if rest.len() < length {
            self.buffer.reserve(length - rest.len());
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_statuses_are_percent_encoded() {
        assert_eq!(unescaped("etcdserver: no%20leader%"), "etcdserver: no leader%");
        assert_eq!(unescaped("100%zz %E2%9C%93"), "100%zz \u{2713}");
    }
}
