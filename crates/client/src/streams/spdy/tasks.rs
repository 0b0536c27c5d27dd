//! The two tasks of a connection: one writes what is queued, one reads and sorts.

use std::io;
use std::sync::Arc;
use std::task::Waker;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

use super::connection::Offered;
use super::frame::{Encoder, reset};
use super::state::{MAX_STREAMS, SESSION_HEADROOM, Shared, State};
use super::{Decoder, Frame, Headers};
use crate::streams::LINGER;

pub(super) async fn write_all(
    shared: Arc<Shared>,
    mut io: WriteHalf<crate::streams::Connection>,
    written: CancellationToken,
) {
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
pub(super) async fn read_all(
    shared: Arc<Shared>,
    io: ReadHalf<crate::streams::Connection>,
    written: CancellationToken,
) {
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
