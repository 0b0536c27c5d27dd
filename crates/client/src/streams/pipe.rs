//! The two ends of one direction of a stream, as `AsyncRead` and `AsyncWrite`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::queue::{End, Queue};
use super::{CHUNK_BYTES, QUEUE_BYTES};

/// What the peer sends on one stream.
pub struct Reader {
    queue: Arc<Queue<Bytes>>,
    head: Bytes,
    /// Told of every byte taken, so that a window can be reopened.
    consumed: Option<Box<dyn Fn(usize) + Send + Sync>>,
}

/// The filling end of a [`Reader`], held by the connection's reading task.
#[derive(Clone, Debug)]
pub(crate) struct Feed(Arc<Queue<Bytes>>);

/// A stream's input and the end that fills it.
pub(crate) fn pipe() -> (Feed, Reader) {
    let queue = Arc::new(Queue::new(QUEUE_BYTES));
    (Feed(queue.clone()), Reader { queue, head: Bytes::new(), consumed: None })
}

impl Feed {
    /// Hands over bytes, waiting while the reader is behind. Bytes nobody wants are dropped.
    pub async fn send(&self, bytes: Bytes) {
        if !bytes.is_empty() && self.0.ready().await.is_ok() {
            let weight = bytes.len();
            let _ = self.0.push(bytes, weight);
        }
    }

    pub fn end(&self) {
        self.0.end();
    }

    pub fn break_off(&self) {
        self.0.break_off();
    }
}

impl Reader {
    pub(crate) fn on_consumed(mut self, tell: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.consumed = Some(Box::new(tell));
        self
    }

    /// The next bytes as they came, with no copy; `None` at the end.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        std::future::poll_fn(|cx| self.poll_fill(cx)).await.map(|more| {
            more.then(|| {
                let bytes = std::mem::take(&mut self.head);
                self.tell(bytes.len());
                bytes
            })
        })
    }

    /// Makes `head` non-empty; false at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.head.is_empty() {
            match ready!(self.queue.poll_pop(cx)) {
                Ok(bytes) => self.head = bytes,
                Err(End::Regular) => return Poll::Ready(Ok(false)),
                Err(End::Broken) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
        Poll::Ready(Ok(true))
    }

    fn tell(&self, count: usize) {
        if let Some(consumed) = &self.consumed {
            consumed(count);
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if ready!(self.poll_fill(cx))? {
            let count = self.head.len().min(buf.remaining());
            buf.put_slice(&self.head[..count]);
            self.head.advance(count);
            self.tell(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

/// Where a [`Writer`]'s bytes go; one implementation per protocol.
pub(crate) trait Sink: Send + Sync {
    /// Ready with the most bytes the next [`Sink::send`] may carry.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;
    fn send(&mut self, bytes: Bytes) -> io::Result<()>;
    /// No more bytes follow. Called once.
    fn finish(&mut self);
}

/// What we send on one stream. Dropping it ends the stream's direction, as `shutdown` does.
pub struct Writer {
    sink: Box<dyn Sink>,
    finished: bool,
}

impl Writer {
    pub(crate) fn new(sink: impl Sink + 'static) -> Self {
        Self { sink: Box::new(sink), finished: false }
    }

    /// Sends bytes with no copy.
    pub async fn send(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = std::future::poll_fn(|cx| self.sink.poll_ready(cx)).await?;
            self.sink.send(bytes.split_to(room.min(bytes.len())))?;
        }
        Ok(())
    }

    /// Sends an empty message, for protocols in which that means something.
    pub(crate) fn send_empty(&mut self) {
        let _ = self.sink.send(Bytes::new());
    }

    /// Ends this direction.
    pub fn finish(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            self.sink.finish();
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = ready!(self.sink.poll_ready(cx))?;
        let count = buf.len().min(room).min(CHUNK_BYTES);
        self.sink.send(Bytes::copy_from_slice(&buf[..count]))?;
        Poll::Ready(Ok(count))
    }

    /// The connection's writing task flushes whenever its queue runs empty.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.finish();
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}
