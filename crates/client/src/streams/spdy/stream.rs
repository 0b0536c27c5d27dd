//! The handle of one stream.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::Headers;
use super::frame::reset;
use super::state::Shared;
use crate::streams::pipe::{Feed, Sink, pipe};
use crate::streams::{CHUNK_BYTES, Reader, Writer};

/// One stream, its directions to be taken apart as needed.
#[derive(Debug)]
pub struct Stream {
    pub id: u32,
    pub headers: Headers,
    pub reader: Reader,
    pub writer: Writer,
    pub(super) shared: Arc<Shared>,
}

impl Stream {
    pub(super) fn new(id: u32, headers: Headers, shared: Arc<Shared>) -> (Self, Feed) {
        let (feed, reader) = pipe();
        let connection = shared.clone();
        let reader = reader.on_consumed(move |count| connection.consumed(id, count));
        let writer = Writer::new(StreamSink { id, shared: shared.clone() });
        (Self { id, headers, reader, writer, shared }, feed)
    }

    /// A handle that can end the stream from elsewhere.
    pub fn reset_handle(&self) -> Reset {
        Reset { id: self.id, shared: self.shared.clone() }
    }
}

/// Ends both directions of a stream; what is queued in them may be lost.
#[derive(Clone, Debug)]
pub struct Reset {
    id: u32,
    shared: Arc<Shared>,
}

impl Reset {
    pub fn reset(&self) {
        self.shared.reset(self.id, reset::CANCEL);
    }
}

#[derive(Debug)]
struct StreamSink {
    id: u32,
    shared: Arc<Shared>,
}

impl Sink for StreamSink {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.shared.poll_window(self.id, cx).map_ok(|room| room.min(CHUNK_BYTES))
    }

    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.shared.send_data(self.id, bytes)
    }

    fn finish(&mut self) {
        self.shared.finish(self.id);
    }
}
