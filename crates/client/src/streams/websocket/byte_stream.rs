//! A WebSocket as one byte stream: how SPDY is tunnelled (KEP-4006).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Incoming, Message, Outgoing};
use crate::streams::CHUNK_BYTES;

/// A WebSocket whose messages are nothing but pieces of a byte stream.
#[derive(Debug)]
pub struct ByteStream {
    incoming: Incoming,
    outgoing: Outgoing,
    head: Bytes,
}

impl ByteStream {
    pub fn new(incoming: Incoming, outgoing: Outgoing) -> Self {
        Self { incoming, outgoing, head: Bytes::new() }
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.head.is_empty() {
            match ready!(self.incoming.poll_next(cx)) {
                Some(Ok(chunk)) => self.head = chunk.bytes,
                Some(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => return Poll::Ready(Err(error)),
                Some(Err(_)) | None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.head.len().min(buf.remaining());
        buf.put_slice(&self.head[..count]);
        self.head.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.outgoing.poll_ready(cx))?;
        let count = buf.len().min(CHUNK_BYTES);
        let payload = Bytes::copy_from_slice(&buf[..count]);
        self.outgoing.push(Message::Data { text: false, lead: None, payload })?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}
