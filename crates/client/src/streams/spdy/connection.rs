//! A running SPDY connection: one task reads, one writes, handles share the state between them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::frame::{Encoder, reset};
use super::stream::Stream;
use super::{Decoder, Frame, Headers};
use crate::streams::pipe::Feed;
use crate::streams::queue::Queue;
use crate::streams::{LINGER, QUEUE_BYTES, STREAM_CREATION_TIMEOUT, StreamError};

/// Which end opened the connection: clients' streams have odd numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

/// Streams a peer may have open at once. A port-forward uses two per forwarded connection.
const MAX_STREAMS: usize = 1024;

/// What we let a peer send on one stream before we have read it.
const WINDOW: u32 = QUEUE_BYTES as u32;

/// A connection. Dropping it ends it after what is queued.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    role: Role,
    /// The next number for a stream of ours; held while it is announced, because numbers must
    /// reach the peer in order.
    next_id: tokio::sync::Mutex<u32>,
}

impl Connection {
    /// Runs the protocol over an upgraded connection.
    pub fn start(connection: crate::streams::Connection, role: Role) -> Self {
        let (read, write) = tokio::io::split(connection);
        let shared = Arc::new(Shared {
            outgoing: Queue::new(QUEUE_BYTES),
            offered: Queue::new(MAX_STREAMS),
            state: Mutex::default(),
            ended: CancellationToken::new(),
        });
        shared.send(Frame::Settings { initial_window: Some(WINDOW) });
        let written = CancellationToken::new();
        tokio::spawn(write_all(shared.clone(), write, written.clone()));
        tokio::spawn(read_all(shared.clone(), read, written));
        Self { shared, role, next_id: tokio::sync::Mutex::new(if role == Role::Client { 1 } else { 2 }) }
    }

    /// The next stream the peer wants to open; `None` once the connection is over.
    pub async fn accept(&self) -> Option<Offered> {
        self.shared.offered.pop().await.ok()
    }

    /// Opens a stream and waits for the peer's consent.
    pub async fn open(&self, headers: &Headers) -> Result<Stream, StreamError> {
        let (answer, answered) = oneshot::channel();
        let stream = {
            let mut next = self.next_id.lock().await;
            let id = *next;
            *next += 2;
            let stream = self.shared.add(id, headers.clone(), Some(answer)).ok_or(StreamError::Closed)?;
            self.shared.send(Frame::SynStream { id, fin: false, headers: headers.clone() });
            stream
        };
        match tokio::time::timeout(STREAM_CREATION_TIMEOUT, answered).await {
            Ok(Ok(true)) => Ok(stream),
            Ok(Ok(false)) => Err(StreamError::Protocol("stream refused by peer")),
            Ok(Err(_)) => Err(StreamError::Closed),
            Err(_) => Err(StreamError::Protocol("timed out waiting for the peer to accept a stream")),
        }
    }

    /// Says good-bye after what is queued and waits until the connection is over.
    pub async fn close(&self) {
        self.shared.send(Frame::GoAway { last_good: self.shared.state().last_peer_id });
        self.shared.outgoing.end();
        self.closed().await;
    }

    /// Resolves when the connection is over.
    pub async fn closed(&self) {
        self.shared.ended.cancelled().await;
    }

    pub fn role(&self) -> Role {
        self.role
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.outgoing.end();
        self.shared.offered.abandon();
    }
}

/// A stream the peer wants to open.
#[derive(Debug)]
pub struct Offered(Stream);

impl Offered {
    pub fn id(&self) -> u32 {
        self.0.id
    }

    pub fn headers(&self) -> &Headers {
        &self.0.headers
    }

    pub fn accept(self) -> Stream {
        self.0.shared.send(Frame::SynReply { id: self.0.id, fin: false });
        self.0
    }

    pub fn refuse(self) {
        self.0.shared.reset(self.0.id, reset::PROTOCOL_ERROR);
    }
}

/// What the tasks and all handles of a connection share.
#[derive(Debug)]
pub(super) struct Shared {
    outgoing: Queue<Frame>,
    offered: Queue<Offered>,
    state: Mutex<State>,
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    streams: BTreeMap<u32, StreamState>,
    last_peer_id: u32,
    /// Bytes received since the session window was last reopened.
    session_unacknowledged: u32,
    /// The peer's initial window; `None` while it has announced none, and then nothing is limited.
    peer_window: Option<u32>,
    /// Sum of the peer's updates of its session window (SPDY/3.1), and what we have sent into it.
    session_granted: i64,
    session_sent: i64,
    blocked: Vec<Waker>,
    closed: bool,
}

#[derive(Debug)]
struct StreamState {
    feed: Feed,
    answer: Option<oneshot::Sender<bool>>,
    sent: i64,
    /// Sum of the peer's window updates.
    granted: i64,
    /// Bytes read by the application since the window was last reopened.
    unacknowledged: u32,
    local_done: bool,
    remote_done: bool,
}

/// The session window both sides start from.
const SESSION_WINDOW: i64 = 64 * 1024;

/// What we add to it at once. Streams have windows of their own and nothing is held outside of
/// them, so the session's only has to stay out of the way.
const SESSION_HEADROOM: u32 = 1 << 24;

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame; once the connection is over it is dropped.
    pub fn send(&self, frame: Frame) {
        let weight = if let Frame::Data { bytes, .. } = &frame { bytes.len() } else { 0 };
        let _ = self.outgoing.push(frame, weight);
    }

    fn add(self: &Arc<Self>, id: u32, headers: Headers, answer: Option<oneshot::Sender<bool>>) -> Option<Stream> {
        let (stream, feed) = Stream::new(id, headers, self.clone());
        let mut state = self.state();
        if state.closed {
            return None;
        }
        let (sent, granted, unacknowledged) = (0, 0, 0);
        let entry = StreamState { feed, answer, sent, granted, unacknowledged, local_done: false, remote_done: false };
        state.streams.insert(id, entry);
        Some(stream)
    }

    /// Ready with the bytes that the queue and the peer's windows have room for.
    pub fn poll_window(&self, id: u32, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if std::task::ready!(self.outgoing.poll_ready(cx)).is_err() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut state = self.state();
        let Some(stream) = state.streams.get(&id).filter(|stream| !stream.local_done) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let room = match state.peer_window {
            None => i64::MAX,
            Some(initial) => {
                let stream_room = i64::from(initial) + stream.granted - stream.sent;
                stream_room.min(SESSION_WINDOW + state.session_granted - state.session_sent)
            }
        };
        if room > 0 {
            return Poll::Ready(Ok(usize::try_from(room).unwrap_or(usize::MAX)));
        }
        if !state.blocked.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.blocked.push(cx.waker().clone());
        }
        Poll::Pending
    }

    pub fn send_data(&self, id: u32, bytes: Bytes) -> io::Result<()> {
        let length = bytes.len() as i64;
        {
            let mut state = self.state();
            state.session_sent += length;
            let stream = state.streams.get_mut(&id).filter(|stream| !stream.local_done);
            stream.ok_or(io::ErrorKind::BrokenPipe)?.sent += length;
        }
        self.send(Frame::Data { id, fin: false, bytes });
        Ok(())
    }

    /// Ends our direction of a stream.
    pub fn finish(&self, id: u32) {
        let mut state = self.state();
        if let Some(stream) = state.streams.get_mut(&id).filter(|stream| !stream.local_done) {
            stream.local_done = true;
            let gone = stream.remote_done;
            self.send(Frame::Data { id, fin: true, bytes: Bytes::new() });
            if gone {
                state.streams.remove(&id);
            }
        }
    }

    /// Ends both directions of a stream at once.
    pub fn reset(&self, id: u32, status: u32) {
        if let Some(stream) = self.state().streams.remove(&id) {
            stream.feed.break_off();
            self.send(Frame::RstStream { id, status });
        }
    }

    /// The application has read: reopen the window before it is used up.
    pub fn consumed(&self, id: u32, count: usize) {
        let mut state = self.state();
        let flow_control = state.peer_window.is_some();
        let Some(stream) = state.streams.get_mut(&id).filter(|_| flow_control) else { return };
        stream.unacknowledged += count as u32;
        if stream.unacknowledged >= WINDOW / 2 && !stream.remote_done {
            let delta = std::mem::take(&mut stream.unacknowledged);
            self.send(Frame::WindowUpdate { id, delta });
        }
    }

    fn end(&self) {
        let mut state = self.state();
        state.closed = true;
        for stream in std::mem::take(&mut state.streams).into_values() {
            stream.feed.break_off();
        }
        state.blocked.drain(..).for_each(Waker::wake);
        drop(state);
        self.outgoing.end();
        self.offered.end();
        self.ended.cancel();
    }
}

async fn write_all(shared: Arc<Shared>, mut io: WriteHalf<crate::streams::Connection>, written: CancellationToken) {
    let mut encoder = Encoder::new();
    let mut head = Vec::new();
    let result: io::Result<()> = async {
        loop {
            if shared.outgoing.is_empty() {
                io.flush().await?;
            }
            let Ok(frame) = shared.outgoing.pop().await else { break };
            let payload = encoder.encode(frame, &mut head);
            io.write_all_buf(&mut Buf::chain(&head[..], payload)).await?;
        }
        io.shutdown().await
    }
    .await;
    if let Err(error) = result {
        tracing::debug!(%error, "spdy write failed");
    }
    shared.outgoing.abandon();
    written.cancel();
}

/// Reads until the peer ends, or for a moment after our own end.
async fn read_all(shared: Arc<Shared>, io: ReadHalf<crate::streams::Connection>, written: CancellationToken) {
    let after_end = async {
        written.cancelled().await;
        tokio::time::sleep(LINGER).await;
    };
    tokio::select! {
        biased;
        result = read_frames(&shared, io) => {
            if let Err(error) = result {
                tracing::debug!(%error, "spdy read failed");
            }
        }
        () = after_end => {}
    }
    shared.end();
}

async fn read_frames(shared: &Arc<Shared>, mut io: ReadHalf<crate::streams::Connection>) -> io::Result<()> {
    let mut decoder = Decoder::default();
    loop {
        while let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
            receive(shared, frame).await;
        }
        if io.read_buf(decoder.buffer()).await? == 0 {
            return Ok(());
        }
    }
}

async fn receive(shared: &Arc<Shared>, frame: Frame) {
    match frame {
        Frame::SynStream { id, fin, headers } => offered(shared, id, fin, headers),
        Frame::SynReply { id, fin } => {
            answered(shared, id);
            remote_end(shared, id, fin);
        }
        Frame::Headers { id, fin } => remote_end(shared, id, fin),
        Frame::Data { id, fin, bytes } => {
            data(shared, id, bytes).await;
            remote_end(shared, id, fin);
        }
        Frame::RstStream { id, .. } => {
            if let Some(stream) = shared.state().streams.remove(&id) {
                if let Some(answer) = stream.answer {
                    let _ = answer.send(false);
                }
                // What had arrived before may still be read; upstream's clients reset to say
                // good-bye, so this is an end, not a failure.
                stream.feed.end();
            }
            unblock(shared, |_| {});
        }
        Frame::Settings { initial_window } => {
            if initial_window.is_some() {
                unblock(shared, |state| state.peer_window = initial_window);
                shared.send(Frame::WindowUpdate { id: 0, delta: SESSION_HEADROOM });
            }
        }
        Frame::WindowUpdate { id: 0, delta } => unblock(shared, |state| state.session_granted += i64::from(delta)),
        Frame::WindowUpdate { id, delta } => unblock(shared, |state| {
            if let Some(stream) = state.streams.get_mut(&id) {
                stream.granted += i64::from(delta);
            }
        }),
        // Either ours coming back or the peer's to be answered; we send none.
        Frame::Ping { id } => shared.outgoing.push_if_room(Frame::Ping { id }, 8),
        Frame::GoAway { .. } => shared.offered.end(),
    }
}

fn offered(shared: &Arc<Shared>, id: u32, fin: bool, headers: Headers) {
    let acceptable = {
        let mut state = shared.state();
        let fresh = id > state.last_peer_id;
        state.last_peer_id = state.last_peer_id.max(id);
        fresh && state.streams.len() < MAX_STREAMS
    };
    if !acceptable {
        return shared.send(Frame::RstStream { id, status: reset::REFUSED_STREAM });
    }
    if let Some(stream) = shared.add(id, headers, None) {
        remote_end(shared, id, fin);
        let _ = shared.offered.push(Offered(stream), 1);
    }
}

fn answered(shared: &Shared, id: u32) {
    let answer = shared.state().streams.get_mut(&id).and_then(|stream| stream.answer.take());
    if let Some(answer) = answer {
        let _ = answer.send(true);
    }
}

async fn data(shared: &Shared, id: u32, bytes: Bytes) {
    let feed = {
        let mut state = shared.state();
        if state.peer_window.is_some() {
            state.session_unacknowledged += bytes.len() as u32;
            if state.session_unacknowledged >= SESSION_HEADROOM / 2 {
                let delta = std::mem::take(&mut state.session_unacknowledged);
                shared.send(Frame::WindowUpdate { id: 0, delta });
            }
        }
        state.streams.get(&id).filter(|stream| !stream.remote_done).map(|stream| stream.feed.clone())
    };
    if let Some(feed) = feed {
        feed.send(bytes).await;
    }
}

fn remote_end(shared: &Shared, id: u32, fin: bool) {
    if !fin {
        return;
    }
    let mut state = shared.state();
    if let Some(stream) = state.streams.get_mut(&id) {
        stream.remote_done = true;
        stream.feed.end();
        if stream.local_done {
            state.streams.remove(&id);
        }
    }
}

fn unblock(shared: &Shared, change: impl FnOnce(&mut State)) {
    let mut state = shared.state();
    change(&mut state);
    state.blocked.drain(..).for_each(Waker::wake);
}
