//! The serving side: the kubelet's end of port-forward.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use super::{PROTOCOL, TUNNEL_PROTOCOL, header};
use crate::streams::channels::{Channels, Closing, Encoding, Protocol};
use crate::streams::websocket::{self, Role};
use crate::streams::{Reader, STREAM_CREATION_TIMEOUT, StreamError, Writer, spdy, upgrade};
use crate::transport::Body;

/// An accepted request: send `response`, then run `forwards`.
pub struct Accepted {
    pub response: Response<Body>,
    pub forwards: BoxFuture<'static, Result<Forwards, StreamError>>,
}

/// One connection to carry to a port of the pod.
#[derive(Debug)]
pub struct Forward {
    pub port: u16,
    pub from_client: Reader,
    pub to_client: Writer,
    /// Write why forwarding failed, or drop it: nothing means success. Clients end the whole
    /// session at a non-empty text.
    pub error: Writer,
}

/// The connections a client asks for, as they come.
#[derive(Debug)]
pub struct Forwards(Source);

#[derive(Debug)]
enum Source {
    Spdy { connection: spdy::Connection, waiting: BTreeMap<String, Pair> },
    WebSocket { ready: std::vec::IntoIter<Forward>, outgoing: websocket::Outgoing },
}

impl Forwards {
    /// The next connection; `None` when the client is gone.
    pub async fn next(&mut self) -> Option<Forward> {
        match &mut self.0 {
            Source::Spdy { connection, waiting } => next_pair(connection, waiting).await,
            Source::WebSocket { ready, outgoing } => match ready.next() {
                Some(forward) => Some(forward),
                None => {
                    outgoing.written().await;
                    None
                }
            },
        }
    }
}

/// Answers a port-forward request; `ports` matter to WebSocket channels only. `Err` is the
/// refusal to send.
pub fn accept<B>(request: &mut Request<B>, ports: &[u16]) -> Result<Accepted, Box<Response<Body>>> {
    let wanted = upgrade::requested(request.headers());
    let pending = hyper::upgrade::on(&mut *request);
    match wanted {
        Some(upgrade::Protocol::Spdy) => {
            let (response, _) = spdy::handshake::accept(request.headers(), &[PROTOCOL])?;
            let forwards = Box::pin(async move { Ok(over_spdy(upgrade::connection(pending).await?)) });
            Ok(Accepted { response, forwards })
        }
        Some(upgrade::Protocol::WebSocket) => accept_websocket(request.headers(), pending, ports.to_vec()),
        None => Err(Box::new(upgrade::refuse(StatusCode::BAD_REQUEST, "Upgrade request required"))),
    }
}

fn over_spdy(connection: crate::streams::Connection) -> Forwards {
    let connection = spdy::Connection::start(connection, spdy::Role::Server);
    Forwards(Source::Spdy { connection, waiting: BTreeMap::new() })
}

const CHANNELS: &str = "v4.channel.k8s.io";
const CHANNELS_BASE64: &str = "v4.base64.channel.k8s.io";

fn accept_websocket(headers: &HeaderMap, pending: OnUpgrade, ports: Vec<u16>) -> Result<Accepted, Box<Response<Body>>> {
    let (response, name) = websocket::accept(headers, &[TUNNEL_PROTOCOL, "", CHANNELS, CHANNELS_BASE64])?;
    if name != TUNNEL_PROTOCOL && ports.is_empty() {
        return Err(Box::new(upgrade::refuse(StatusCode::BAD_REQUEST, &InvalidPorts::Missing.to_string())));
    }
    let forwards = async move {
        let (incoming, outgoing) = websocket::start(upgrade::connection(pending).await?, Role::Server);
        if name == TUNNEL_PROTOCOL {
            return Ok(over_spdy(Box::new(websocket::ByteStream::new(incoming, outgoing))));
        }
        let encoding = if name == CHANNELS_BASE64 { Encoding::Base64 } else { Encoding::Binary };
        let mut channels = Channels::new(Protocol { encoding, closes: false }, outgoing.clone());
        let (mut ready, closing) = (Vec::new(), Closing::new(outgoing.clone()));
        for (i, port) in ports.into_iter().enumerate() {
            ready.push(channel_pair(&mut channels, i as u8, port, &closing).await?);
        }
        orlop_base::task::spawn(channels.serve(incoming));
        Ok(Forwards(Source::WebSocket { ready: ready.into_iter(), outgoing }))
    };
    Ok(Accepted { response, forwards: Box::pin(forwards) })
}

/// Port number `i` has channels 2i (data) and 2i+1 (error), each opened by the port's number.
async fn channel_pair(
    channels: &mut Channels,
    i: u8,
    port: u16,
    closing: &Arc<Closing>,
) -> Result<Forward, StreamError> {
    let (data, error) = (2 * i, 2 * i + 1);
    let mut forward = Forward {
        port,
        from_client: channels.reader(data),
        to_client: channels.closing_writer(data, closing),
        error: channels.closing_writer(error, closing),
    };
    let greeting = Bytes::copy_from_slice(&port.to_le_bytes());
    forward.to_client.send(greeting.clone()).await?;
    forward.error.send(greeting).await?;
    Ok(forward)
}

/// Channels that a query may ask for: two per port, and channel 255 has a meaning of its own.
const MAX_PORTS: usize = 100;

/// The `port` query parameters of WebSocket channels cannot be used (400).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPorts {
    #[error("query parameter \"port\" is required")]
    Missing,
    #[error("query parameter \"port\" cannot be empty")]
    Empty,
    #[error("unable to parse \"{0}\" as a port: invalid syntax")]
    NotANumber(String),
    #[error("port \"0\" must be > 0")]
    Zero,
    #[error("at most {MAX_PORTS} ports can be forwarded")]
    TooMany,
}

/// Reads the ports of a query: `port=80&port=443` or `port=80,443`. An absent parameter gives none.
pub fn ports_from_query<'a>(query: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Vec<u16>, InvalidPorts> {
    let mut ports = Vec::new();
    for (_, values) in query.into_iter().filter(|(key, _)| *key == "port") {
        for value in values.split(',') {
            ports.push(match value.parse() {
                Ok(0) => return Err(InvalidPorts::Zero),
                Ok(port) => port,
                Err(_) if value.is_empty() => return Err(InvalidPorts::Empty),
                Err(_) => return Err(InvalidPorts::NotANumber(value.to_owned())),
            });
        }
    }
    if ports.len() > MAX_PORTS { Err(InvalidPorts::TooMany) } else { Ok(ports) }
}

/// The streams of a request that have come so far.
#[derive(Debug)]
struct Pair {
    since: Instant,
    port: u16,
    data: Option<spdy::Stream>,
    error: Option<spdy::Stream>,
}

async fn next_pair(connection: &spdy::Connection, waiting: &mut BTreeMap<String, Pair>) -> Option<Forward> {
    loop {
        let oldest = waiting.values().map(|pair| pair.since).min();
        let expiry = async {
            match oldest {
                Some(since) => tokio::time::sleep_until(since + STREAM_CREATION_TIMEOUT).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            offered = connection.accept() => {
                if let Some(forward) = add(waiting, offered?) {
                    return Some(forward);
                }
            }
            () = expiry => expire(waiting).await,
        }
    }
}

/// Sorts a stream to its pair; returns the pair once it is whole.
fn add(waiting: &mut BTreeMap<String, Pair>, offered: spdy::Offered) -> Option<Forward> {
    let Some((port, request, is_data)) = describe(&offered) else {
        offered.refuse();
        return None;
    };
    let pair =
        waiting.entry(request.clone()).or_insert_with(|| Pair { since: Instant::now(), port, data: None, error: None });
    let half = if is_data { &mut pair.data } else { &mut pair.error };
    if half.is_some() {
        offered.refuse();
        return None;
    }
    *half = Some(offered.accept());
    if pair.data.is_none() || pair.error.is_none() {
        return None;
    }
    let pair = waiting.remove(&request)?;
    let (data, error) = (pair.data?, pair.error?);
    Some(Forward { port: pair.port, from_client: data.reader, to_client: data.writer, error: error.writer })
}

/// Port, request and whether it is the data stream; `None` when the headers make no sense.
fn describe(offered: &spdy::Offered) -> Option<(u16, String, bool)> {
    let port = offered.headers().get(header::PORT)?.parse().ok().filter(|port| *port > 0)?;
    let is_data = match offered.headers().get(header::STREAM_TYPE)? {
        header::DATA => true,
        header::ERROR => false,
        _ => return None,
    };
    let request = match offered.headers().get(header::REQUEST_ID) {
        Some(id) if !id.is_empty() => id.to_owned(),
        // Clients older than request ids open the error stream first and the data stream next.
        _ => offered.id().saturating_sub(if is_data { 2 } else { 0 }).to_string(),
    };
    Some((port, request, is_data))
}

async fn expire(waiting: &mut BTreeMap<String, Pair>) {
    let now = Instant::now();
    let late = |pair: &Pair| now.duration_since(pair.since) >= STREAM_CREATION_TIMEOUT;
    while let Some(request) = waiting.iter().find(|(_, pair)| late(pair)).map(|(request, _)| request.clone()) {
        if let Some(Pair { error: Some(mut stream), .. }) = waiting.remove(&request) {
            let text = format!("(request={request}) timed out waiting for streams");
            // The client may be gone by now.
            let _ = stream.writer.send(text.into()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_a_query() {
        for (query, ports) in [
            (vec![("port", "80"), ("port", "443,8080"), ("x", "1")], Ok(vec![80, 443, 8080])),
            (vec![], Ok(vec![])),
            (vec![("port", "0")], Err(InvalidPorts::Zero)),
            (vec![("port", "http")], Err(InvalidPorts::NotANumber("http".into()))),
            (vec![("port", "")], Err(InvalidPorts::Empty)),
        ] {
            assert_eq!(ports_from_query(query.iter().copied()), ports, "{query:?}");
        }
    }
}
