//! The serving side: the kubelet's end of exec and attach.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::io::AsyncWriteExt;

use super::{Options, Outcome, Resizes, channel, protocol, stream_type};
use crate::streams::channels::{Channels, Encoding, Protocol};
use crate::streams::websocket::{self, Outgoing, Role};
use crate::streams::{Reader, STREAM_CREATION_TIMEOUT, StreamError, Writer, spdy, upgrade};
use crate::transport::Body;

/// An accepted request: send `response`, then run `session`.
pub struct Accepted {
    pub response: Response<Body>,
    pub session: BoxFuture<'static, Result<Session, StreamError>>,
}

/// The streams of a running command. Drop or shut down `stdout` and `stderr` before
/// [`Ending::finish`].
#[derive(Debug)]
pub struct Session {
    pub stdin: Option<Reader>,
    pub stdout: Option<Writer>,
    pub stderr: Option<Writer>,
    /// Only with a terminal, and a client that knows of sizes.
    pub resize: Option<Resizes>,
    pub ending: Ending,
}

/// Tells the client how the command ended and closes the connection.
#[derive(Debug)]
pub struct Ending {
    error: Writer,
    has_status: bool,
    link: Link,
}

/// What carries the session.
#[derive(Debug)]
enum Link {
    WebSocket(Outgoing),
    Spdy(spdy::Connection),
}

impl Ending {
    /// Sends the outcome after all output and waits until it is written out.
    pub async fn finish(mut self, outcome: Outcome) {
        let text = if self.has_status { outcome.to_status().to_string() } else { outcome.text() };
        // A client that is gone wants no outcome.
        let _ = self.error.write_all(text.as_bytes()).await;
        match self.link {
            // No close signal for the channel: clients read it until the connection's close.
            Link::WebSocket(outgoing) => {
                outgoing.close();
                outgoing.written().await;
            }
            Link::Spdy(connection) => {
                self.error.finish();
                connection.close().await;
            }
        }
    }

    /// Resolves when the client's connection is gone.
    pub async fn disconnected(&self) {
        match &self.link {
            Link::WebSocket(outgoing) => outgoing.written().await,
            Link::Spdy(connection) => connection.closed().await,
        }
    }
}

/// Answers an exec or attach request. `Err` is the refusal to send.
pub fn accept<B>(request: &mut Request<B>, options: Options) -> Result<Accepted, Box<Response<Body>>> {
    let wanted = upgrade::requested(request.headers());
    let pending = hyper::upgrade::on(&mut *request);
    match wanted {
        Some(upgrade::Protocol::WebSocket) => accept_websocket(request.headers(), pending, options),
        Some(upgrade::Protocol::Spdy) => accept_spdy(request.headers(), pending, options),
        None => Err(Box::new(upgrade::refuse(
            StatusCode::BAD_REQUEST,
            "unable to upgrade: missing upgrade headers in request",
        ))),
    }
}

/// Sub-protocols over WebSocket, the empty one for clients that name none.
const WEBSOCKET_PROTOCOLS: [&str; 6] =
    ["", protocol::V1, protocol::V1_BASE64, protocol::V4, protocol::V4_BASE64, protocol::V5];

fn accept_websocket(
    headers: &HeaderMap,
    pending: OnUpgrade,
    options: Options,
) -> Result<Accepted, Box<Response<Body>>> {
    let (response, name) = websocket::accept(headers, &WEBSOCKET_PROTOCOLS)?;
    let encoding =
        if matches!(name, protocol::V1_BASE64 | protocol::V4_BASE64) { Encoding::Base64 } else { Encoding::Binary };
    let receiving = Protocol { encoding, closes: name == protocol::V5 };
    let session = async move {
        let (incoming, outgoing) = websocket::start(upgrade::connection(pending).await?, Role::Server);
        let mut channels = Channels::new(receiving, outgoing.clone());
        let session = Session {
            stdin: options.stdin.then(|| channels.reader(channel::STDIN)),
            stdout: options.stdout.then(|| channels.server_writer(channel::STDOUT)),
            stderr: options.stderr.then(|| channels.server_writer(channel::STDERR)),
            resize: options.tty.then(|| Resizes::new(channels.reader(channel::RESIZE))),
            ending: Ending {
                error: channels.server_writer(channel::ERROR),
                has_status: protocol::has_status(name),
                link: Link::WebSocket(outgoing),
            },
        };
        orlop_base::task::spawn(channels.serve(incoming));
        Ok(greet(session))
    };
    Ok(Accepted { response, session: Box::pin(session) })
}

/// An empty message on the first writable channel tells the client that the session stands.
fn greet(mut session: Session) -> Session {
    session.stdout.as_mut().or(session.stderr.as_mut()).unwrap_or(&mut session.ending.error).send_empty();
    session
}

/// Sub-protocols over SPDY, best first.
const SPDY_PROTOCOLS: [&str; 4] = [protocol::V4, protocol::V3, protocol::V2, protocol::V1];

fn accept_spdy(headers: &HeaderMap, pending: OnUpgrade, options: Options) -> Result<Accepted, Box<Response<Body>>> {
    let (response, name) = spdy::handshake::accept(headers, &SPDY_PROTOCOLS)?;
    let session = async move {
        let connection = spdy::Connection::start(upgrade::connection(pending).await?, spdy::Role::Server);
        let gather = gather(&connection, options, name);
        let mut streams =
            tokio::time::timeout(STREAM_CREATION_TIMEOUT, gather).await.map_err(|_| StreamError::NoStreams)??;
        let mut take = |kind| streams.remove(kind);
        let error = take(stream_type::ERROR).ok_or(StreamError::NoStreams)?.writer;
        Ok(Session {
            stdin: take(stream_type::STDIN).map(|stream| stream.reader),
            stdout: take(stream_type::STDOUT).map(|stream| stream.writer),
            stderr: take(stream_type::STDERR).map(|stream| stream.writer),
            resize: take(stream_type::RESIZE).map(|stream| Resizes::new(stream.reader)),
            ending: Ending { error, has_status: protocol::has_status(name), link: Link::Spdy(connection) },
        })
    };
    Ok(Accepted { response, session: Box::pin(session) })
}

/// Waits for every stream that the options announce.
async fn gather(
    connection: &spdy::Connection,
    options: Options,
    protocol_name: &str,
) -> Result<BTreeMap<&'static str, spdy::Stream>, StreamError> {
    let expected = [
        (stream_type::ERROR, true),
        (stream_type::STDIN, options.stdin),
        (stream_type::STDOUT, options.stdout),
        (stream_type::STDERR, options.stderr),
        (stream_type::RESIZE, options.tty && protocol::has_resize(protocol_name)),
    ];
    let mut missing: Vec<&'static str> = expected.iter().filter(|(_, wanted)| *wanted).map(|(kind, _)| *kind).collect();
    let mut streams = BTreeMap::new();
    while !missing.is_empty() {
        let offered = connection.accept().await.ok_or(StreamError::Closed)?;
        match missing.iter().position(|kind| offered.headers().get("streamtype") == Some(*kind)) {
            Some(at) => {
                streams.insert(missing.swap_remove(at), offered.accept());
            }
            None => offered.refuse(),
        }
    }
    Ok(streams)
}
