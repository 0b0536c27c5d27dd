//! Heads of HTTP/1.1 requests that come drop by drop: whoever has begun one must finish it soon (Go's
//! `ReadHeaderTimeout`), while a connection without one may idle for longer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// As upstream's: just shy of the longest that a request may take there.
const TIMEOUT: Duration = Duration::from_secs(32);

/// What is known of the requests on a connection.
#[derive(Debug, Default)]
pub struct Heads {
    read: AtomicUsize,
    answering: AtomicUsize,
    /// Its bytes are no heads: HTTP/2, or another protocol after an upgrade.
    other: AtomicBool,
}

/// A request that is being answered.
pub struct Answering(Arc<Heads>);

impl Heads {
    /// A head has been read.
    pub fn read(self: &Arc<Self>) -> Answering {
        self.read.fetch_add(1, Relaxed);
        self.answering.fetch_add(1, Relaxed);
        Answering(self.clone())
    }

    pub fn are_over(&self) {
        self.other.store(true, Relaxed);
    }

    /// How many heads there were, while the next may come.
    fn waiting(&self) -> Option<usize> {
        let waits = self.answering.load(Relaxed) == 0 && !self.other.load(Relaxed);
        waits.then(|| self.read.load(Relaxed))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Relaxed);
    }
}

/// A connection that fails when a head takes too long.
pub struct Guarded<S> {
    stream: S,
    heads: Arc<Heads>,
    /// The head that has begun, by how many there were before.
    begun: Option<usize>,
    /// Its end, from the first time that it had to be waited for.
    late: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    pub fn new(stream: S, heads: Arc<Heads>) -> Self {
        Self { stream, heads, begun: None, late: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let waiting = self.heads.waiting();
        if waiting.is_none() || self.begun != waiting {
            (self.begun, self.late) = (None, None);
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            if buf.filled().len() > before {
                self.begun = waiting;
            }
            return read;
        }
        if self.begun.is_some() {
            let late = self.late.get_or_insert_with(|| Box::pin(sleep(TIMEOUT)));
            ready!(late.as_mut().poll(cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "a request's head took too long")));
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::{Instant, timeout};

    use super::*;

    fn connection() -> (DuplexStream, Guarded<DuplexStream>, Arc<Heads>) {
        let (client, server) = duplex(64);
        let heads = Arc::new(Heads::default());
        (client, Guarded::new(server, heads.clone()), heads)
    }

    async fn waits(server: &mut Guarded<DuplexStream>) -> bool {
        timeout(3 * TIMEOUT, server.read_u8()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_has_begun_must_end() {
        let (mut client, mut server, _) = connection();
        assert!(waits(&mut server).await, "nothing has begun");
        client.write_all(b"GE").await.expect("written");
        assert_eq!(server.read_u8().await.expect("a byte"), b'G');
        let start = Instant::now();
        let drip = async {
            tokio::time::sleep(TIMEOUT / 2).await;
            client.write_all(b"T").await.expect("written");
        };
        let read = async {
            let mut head = Vec::new();
            server.read_to_end(&mut head).await.map_err(|error| error.kind())
        };
        let (read, ()) = tokio::join!(read, drip);
        assert_eq!((read, start.elapsed()), (Err(io::ErrorKind::TimedOut), TIMEOUT), "another byte wins no time");
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_and_idle_connections_have_time() {
        let (mut client, mut server, heads) = connection();
        client.write_all(b"G").await.expect("written");
        assert_eq!(server.read_u8().await.expect("a byte"), b'G');
        let answering = heads.read();
        assert!(waits(&mut server).await, "a body");
        drop(answering);
        assert!(waits(&mut server).await, "the next request has not begun");
        client.write_all(b"G").await.expect("written");
        assert_eq!(server.read_u8().await.expect("a byte"), b'G');
        heads.are_over();
        assert!(waits(&mut server).await, "another protocol");
    }
}
