//! A member's side of a connection.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::super::grpc::framed;
use super::super::proto::Message;
use super::super::rpc;
use super::wire::{self, Range, Refusal, Txn, Watching};
use super::{Fate, SimEtcd};
use crate::Revision;

/// Compressed or not, and four bytes of length.
const PREFIX_BYTES: usize = 5;
/// The way there and a flush: who writes for ever does not stop the clock.
const LATENCY: Duration = Duration::from_millis(1);
/// Answers of a watch that wait to be read.
const QUEUED: usize = 16;

type Outgoing = UnsyncBoxBody<Bytes, Infallible>;

/// Until the connection ends, or is cut.
pub(super) async fn serve(etcd: SimEtcd, io: DuplexStream, up: CancellationToken) {
    let cut = up.clone();
    let service = service_fn(move |request| {
        let (etcd, up) = (etcd.clone(), up.clone());
        async move { Ok::<_, Infallible>(answer(etcd, up, request).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(io), service);
    let _ = cut.run_until_cancelled(connection).await;
}

async fn answer(etcd: SimEtcd, up: CancellationToken, request: Request<Incoming>) -> Response<Outgoing> {
    let path = request.uri().path().to_owned();
    let mut asked = Asked { body: request.into_body(), buffer: BytesMut::new() };
    let Some(first) = asked.next().await else { return refuse(Refusal::Malformed) };
    if path == rpc::WATCH {
        return watch(etcd, up, asked, &first);
    }
    sleep(LATENCY).await;
    let fate = etcd.draw_fate();
    match fate {
        Fate::Lost => return broken(&up).await,
        Fate::Late(delay) => sleep(delay).await,
        Fate::Answered | Fate::Unanswered => {}
    }
    let answer = etcd.carry_out(&path, &first);
    if matches!(fate, Fate::Unanswered) {
        return broken(&up).await;
    }
    match answer {
        Ok(message) => {
            let trailers =
                HeaderMap::from_iter([("grpc-status".parse().expect("a name"), "0".parse().expect("a value"))]);
            let body = Full::new(framed(&message)).with_trailers(async { Some(Ok(trailers)) });
            Response::new(body.boxed_unsync())
        }
        Err(refusal) => refuse(refusal),
    }
}

/// Nobody hears anything on this connection any more.
async fn broken(up: &CancellationToken) -> Response<Outgoing> {
    up.cancel();
    std::future::pending().await
}

fn refuse(refusal: Refusal) -> Response<Outgoing> {
    let (code, words) = refusal.status();
    let mut response = Response::new(Empty::new().boxed_unsync());
    response.headers_mut().insert("grpc-status", code.into());
    response.headers_mut().insert("grpc-message", http::HeaderValue::from_static(words));
    response
}

impl SimEtcd {
    fn carry_out(&self, path: &str, request: &Bytes) -> Result<Message, Refusal> {
        let mut inner = self.lock();
        if Instant::now() < inner.leader_since {
            return Err(Refusal::NoLeader);
        }
        let mvcc = &mut inner.mvcc;
        match path {
            rpc::RANGE => {
                let page = mvcc.range(&Range::parse(request)?)?;
                Ok(wire::page(mvcc.revision, &page))
            }
            rpc::TXN => {
                let (succeeded, found) = mvcc.txn(&Txn::parse(request)?)?;
                self.revision.send_replace(mvcc.revision);
                Ok(wire::done(mvcc.revision, succeeded, found.as_ref()))
            }
            rpc::COMPACT => {
                mvcc.compact(wire::compaction(request)?)?;
                Ok(wire::compacted(mvcc.revision))
            }
            rpc::STATUS => Ok(wire::status(mvcc.revision)),
            _ => Err(Refusal::Malformed),
        }
    }
}

fn watch(etcd: SimEtcd, up: CancellationToken, asked: Asked, first: &Bytes) -> Response<Outgoing> {
    let Ok(Watching::Create { range, start }) = Watching::parse(first) else { return refuse(Refusal::Malformed) };
    let (tell, told) = mpsc::channel(QUEUED);
    let telling = async move { up.run_until_cancelled(tell_changes(&etcd, asked, range, start, &tell)).await };
    orlop_base::task::spawn(telling);
    let body = stream::unfold(told, |mut told: mpsc::Receiver<Message>| async {
        let message = told.recv().await?;
        Some((Ok(Frame::data(framed(&message))), told))
    });
    Response::new(StreamBody::new(body).boxed_unsync())
}

/// Ends when nobody listens any more, or what was to be told is forgotten.
async fn tell_changes(
    etcd: &SimEtcd,
    mut asked: Asked,
    range: Range,
    mut start: Revision,
    tell: &mpsc::Sender<Message>,
) -> Option<()> {
    let mut revision = etcd.revision.subscribe();
    tell.send(wire::created(etcd.revision())).await.ok()?;
    loop {
        // What changes from here on is looked at again.
        revision.mark_unchanged();
        let (newest, compacted, changes) = {
            let inner = etcd.lock();
            (inner.mvcc.revision, inner.mvcc.compacted, inner.mvcc.changes(&range, start))
        };
        if start <= compacted {
            return tell.send(wire::canceled(newest, compacted)).await.ok();
        }
        if !changes.is_empty() {
            tell.send(wire::changes(newest, &changes)).await.ok()?;
        }
        start = newest + 1;
        tokio::select! {
            biased;
            changed = revision.changed() => changed.ok()?,
            request = asked.next() => match Watching::parse(&request?) {
                Ok(Watching::Progress) => tell.send(wire::changes(newest, &[])).await.ok()?,
                _ => return None,
            },
        }
    }
}

/// Requests coming in.
struct Asked {
    body: Incoming,
    buffer: BytesMut,
}

impl Asked {
    /// `None` after the last. Safe to cancel.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX_BYTES>() {
                let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
                if rest.len() >= length {
                    self.buffer.advance(PREFIX_BYTES);
                    return Some(self.buffer.split_to(length).freeze());
                }
            }
            let data = self.body.frame().await?.ok()?.into_data().ok()?;
            self.buffer.extend_from_slice(&data);
        }
    }
}
