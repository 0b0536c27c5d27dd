//! Descriptors of the runtime (pipes, sockets, terminals) as asynchronous streams.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe;

/// Reads from a descriptor, whatever it is of.
#[derive(Debug)]
pub struct FdReader(pipe::Receiver);

impl FdReader {
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        never_block(&fd)?;
        // Unchecked: sockets and terminals are read the same way.
        pipe::Receiver::from_owned_fd_unchecked(fd).map(Self)
    }
}

impl AsyncRead for FdReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The other side of a terminal has closed: Linux says EIO where a pipe just ends. It may have seen the terminal
        // empty, then closed, and have missed what was written in between: only the second answer is the end.
        for _ in 0..2 {
            match Pin::new(&mut self.0).poll_read(cx, buf) {
                Poll::Ready(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {}
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Writes to a descriptor, whatever it is of.
pub fn writer(fd: OwnedFd) -> io::Result<pipe::Sender> {
    never_block(&fd)?;
    pipe::Sender::from_owned_fd_unchecked(fd)
}

fn never_block(fd: &OwnedFd) -> io::Result<()> {
    let flags = fcntl_getfl(fd)?;
    Ok(fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_pipe_carries_bytes_and_ends() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let (mut reader, mut writer) = (FdReader::new(reader).unwrap(), super::writer(writer).unwrap());
        let sent: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        let (received, ()) = tokio::join!(
            async {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).await.unwrap();
                all
            },
            async {
                writer.write_all(&sent).await.unwrap();
                drop(writer);
            }
        );
        assert_eq!(received, sent);
    }
}
