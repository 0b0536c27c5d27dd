//! The asking side: what `kubectl exec` and `attach` do.

use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Options, Outcome, TerminalSize, channel, protocol, stream_type};
use crate::streams::channels::{Channels, Encoding, Protocol};
use crate::streams::websocket::{self, Role};
use crate::streams::{Reader, StreamError, Writer, spdy, upgrade};
use crate::transport::{Body, Transport, empty};

/// The client's end of a running command.
pub struct ClientSession {
    /// Shut down to tell the command that its input is over.
    pub stdin: Option<Writer>,
    pub stdout: Option<Reader>,
    pub stderr: Option<Reader>,
    resize: Option<Writer>,
    /// Resolves when the server has told how the command ended.
    pub outcome: BoxFuture<'static, Outcome>,
}

impl ClientSession {
    /// Tells the terminal's new size; without a terminal nothing happens.
    pub async fn resize(&mut self, size: TerminalSize) -> std::io::Result<()> {
        let Some(writer) = &mut self.resize else { return Ok(()) };
        let mut text = serde_json::to_vec(&size)?;
        text.push(b'\n');
        writer.write_all(&text).await
    }
}

/// Opens a session at `path_and_query` (`/api/v1/namespaces/x/pods/y/exec?command=sh&stdout=true`).
/// `options` must say what the query says. WebSocket first; a server or proxy that refuses it is
/// asked again with SPDY.
pub async fn connect(
    transport: &dyn Transport,
    path_and_query: &str,
    options: Options,
) -> Result<ClientSession, StreamError> {
    match connect_websocket(transport, path_and_query, options).await {
        Err(StreamError::Upgrade(reason)) => {
            tracing::debug!(reason, "falling back to SPDY");
            connect_spdy(transport, path_and_query, options).await
        }
        result => result,
    }
}

async fn connect_websocket(
    transport: &dyn Transport,
    path_and_query: &str,
    options: Options,
) -> Result<ClientSession, StreamError> {
    let (headers, key) = websocket::request_headers(&[protocol::V5, protocol::V4]);
    let mut request = upgrade_request(Method::GET, path_and_query)?;
    request.headers_mut().extend(headers);
    let response = switched(transport, request).await?;
    let name = websocket::check_response(&response, &key)?;
    let connection = upgrade::connection(hyper::upgrade::on(response)).await?;
    let (incoming, outgoing) = websocket::start(connection, Role::Client);
    let protocol = Protocol { encoding: Encoding::Binary, closes: name == protocol::V5 };
    let mut channels = Channels::new(protocol, outgoing.clone());
    let error = channels.reader(channel::ERROR);
    let session = ClientSession {
        stdin: options.stdin.then(|| channels.writer(channel::STDIN)),
        stdout: options.stdout.then(|| channels.reader(channel::STDOUT)),
        stderr: (options.stderr && !options.tty).then(|| channels.reader(channel::STDERR)),
        resize: options.tty.then(|| channels.server_writer(channel::RESIZE)),
        outcome: Box::pin(async move {
            let outcome = read_outcome(error).await;
            outgoing.close();
            outcome
        }),
    };
    orlop_base::task::spawn(channels.serve(incoming));
    Ok(session)
}

/// As [`connect`], with SPDY at once: for servers known to speak nothing else.
pub async fn connect_spdy(
    transport: &dyn Transport,
    path_and_query: &str,
    options: Options,
) -> Result<ClientSession, StreamError> {
    let mut request = upgrade_request(Method::POST, path_and_query)?;
    spdy::handshake::ask(request.headers_mut(), &[protocol::V4, protocol::V3, protocol::V2, protocol::V1]);
    let response = switched(transport, request).await?;
    let name = spdy::handshake::chosen(&response);
    let connection =
        spdy::Connection::start(upgrade::connection(hyper::upgrade::on(response)).await?, spdy::Role::Client);
    let open = async |kind: &str, wanted: bool| {
        if !wanted {
            return Ok(None);
        }
        connection.open(&spdy::Headers::from([("streamtype", kind)])).await.map(Some)
    };
    // The server counts streams; upstream's clients open them in this order.
    let error = open(stream_type::ERROR, true).await?.ok_or(StreamError::Closed)?;
    let stdin = open(stream_type::STDIN, options.stdin).await?;
    let stdout = open(stream_type::STDOUT, options.stdout).await?;
    let stderr = open(stream_type::STDERR, options.stderr && !options.tty).await?;
    let resize = open(stream_type::RESIZE, options.tty && protocol::has_resize(&name)).await?;
    Ok(ClientSession {
        stdin: stdin.map(|stream| stream.writer),
        stdout: stdout.map(|stream| stream.reader),
        stderr: stderr.map(|stream| stream.reader),
        resize: resize.map(|stream| stream.writer),
        outcome: Box::pin(async move {
            let outcome = read_outcome(error.reader).await;
            connection.close().await;
            outcome
        }),
    })
}

/// Longest Status that is read; what exceeds it is not one.
const MAX_STATUS_BYTES: u64 = 1 << 20;

async fn read_outcome(error: Reader) -> Outcome {
    let mut bytes = Vec::new();
    match error.take(MAX_STATUS_BYTES).read_to_end(&mut bytes).await {
        Err(cause) if bytes.is_empty() => Outcome::Failed(format!("error reading from error stream: {cause}")),
        _ => Outcome::from_error_stream(&bytes),
    }
}

pub(in crate::streams) fn upgrade_request(method: Method, path_and_query: &str) -> Result<Request<Body>, StreamError> {
    let mut request = Request::new(empty());
    *request.method_mut() = method;
    *request.uri_mut() = path_and_query.parse().map_err(|_| StreamError::Protocol("invalid request path"))?;
    request.headers_mut().insert(http::header::ACCEPT, HeaderValue::from_static("*/*"));
    Ok(request)
}

/// Sends an upgrade request; anything but 101 becomes an error with the server's own words.
pub(in crate::streams) async fn switched(
    transport: &dyn Transport,
    request: Request<Body>,
) -> Result<Response<Body>, StreamError> {
    let response = transport.send(request).await.map_err(StreamError::Transport)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let status = response.status();
    let body = upgrade::read_prefix(response.into_body(), MAX_STATUS_BYTES as usize).await;
    let message = orlop_api::status::StatusError::from_body(status.as_u16(), &body).message;
    Err(StreamError::Upgrade(if message.is_empty() { status.to_string() } else { message }))
}
