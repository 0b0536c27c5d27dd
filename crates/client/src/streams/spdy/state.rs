//! What a connection knows of its streams, and the windows of both sides.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::connection::Offered;
use super::stream::Stream;
use super::{Frame, Headers};
use crate::streams::QUEUE_BYTES;
use crate::streams::pipe::Feed;
use crate::streams::queue::Queue;

/// Streams a peer may have open at once. A port-forward uses two per forwarded connection.
pub(super) const MAX_STREAMS: usize = 1024;

/// What we let a peer send on one stream before we have read it.
const WINDOW: u32 = QUEUE_BYTES as u32;

/// What the tasks and all handles of a connection share.
#[derive(Debug)]
pub(super) struct Shared {
    pub outgoing: Queue<Frame>,
    pub offered: Queue<Offered>,
    pub state: Mutex<State>,
    pub ended: CancellationToken,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub streams: BTreeMap<u32, StreamState>,
    pub last_peer_id: u32,
    /// Bytes received since the session window was last reopened.
    pub session_unacknowledged: u32,
    /// The peer's initial window; `None` while it has announced none, and then nothing is limited.
    pub peer_window: Option<u32>,
    /// Sum of the peer's updates of its session window (SPDY/3.1), and what we have sent into it.
    pub session_granted: i64,
    pub session_sent: i64,
    pub blocked: Vec<Waker>,
    pub closed: bool,
}

#[derive(Debug)]
pub(super) struct StreamState {
    pub feed: Feed,
    pub answer: Option<oneshot::Sender<bool>>,
    pub sent: i64,
    /// Sum of the peer's window updates.
    pub granted: i64,
    /// Bytes read by the application since the window was last reopened.
    pub unacknowledged: u32,
    pub local_done: bool,
    pub remote_done: bool,
}

/// The session window both sides start from.
const SESSION_WINDOW: i64 = 64 * 1024;

/// What we add to it at once. Streams have windows of their own and nothing is held outside of
/// them, so the session's only has to stay out of the way.
pub(super) const SESSION_HEADROOM: u32 = 1 << 24;

impl Shared {
    pub fn new() -> Self {
        let shared = Self {
            outgoing: Queue::new(QUEUE_BYTES),
            offered: Queue::new(MAX_STREAMS),
            state: Mutex::default(),
            ended: CancellationToken::new(),
        };
        shared.send(Frame::Settings { initial_window: Some(WINDOW) });
        shared
    }

    pub fn last_peer_id(&self) -> u32 {
        self.state().last_peer_id
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame; once the connection is over it is dropped.
    pub fn send(&self, frame: Frame) {
        let weight = if let Frame::Data { bytes, .. } = &frame { bytes.len() } else { 0 };
        let _ = self.outgoing.push(frame, weight);
    }

    pub fn add(self: &Arc<Self>, id: u32, headers: Headers, answer: Option<oneshot::Sender<bool>>) -> Option<Stream> {
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

    pub fn end(&self) {
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
