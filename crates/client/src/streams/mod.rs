//! Byte streams over an upgraded HTTP connection: exec, attach, port-forward, logs.
//!
//! ```text
//! remote_command   port_forward   logs        what is meant
//!        channels                             Kubernetes' sub-protocol of WebSocket
//!   spdy           websocket                   framing, both roles
//!          upgrade                             HTTP/1.1 101
//! ```
//!
//! Each protocol keeps one bounded [`queue`] of outgoing frames per connection and one of incoming
//! bytes per stream; a full queue stops its producer, so memory per connection has a limit that
//! does not depend on the peer.

pub mod channels;
pub mod logs;
mod pipe;
pub mod port_forward;
mod queue;
pub mod remote_command;
pub mod spdy;
pub mod upgrade;
pub mod websocket;

pub use pipe::{Reader, Writer};

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin> Duplex for T {}

/// The raw connection below a protocol.
pub type Connection = Box<dyn Duplex>;

/// Most bytes one frame or message of ours carries: Go's `io.Copy` buffer, so that neither side
/// meets sizes it would not make itself.
pub(crate) const CHUNK_BYTES: usize = 32 * 1024;

/// Bytes that may wait in one direction of one stream, or in a connection's outgoing queue.
pub(crate) const QUEUE_BYTES: usize = 256 * 1024;

/// How long a connection whose last byte is written still reads (and drops) what the peer sends.
/// Closing a socket with unread input makes the kernel reset it, which can destroy output that
/// the peer has not yet read.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// How long a peer may take to open the streams it announced, or to answer one of ours
/// (`DefaultStreamCreationTimeout`).
pub(crate) const STREAM_CREATION_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a streaming connection could not be made or ended early.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("unable to upgrade connection: {0}")]
    Upgrade(String),
    #[error("upgrading the connection")]
    Hyper(#[from] hyper::Error),
    #[error("sending the upgrade request: {0}")]
    Transport(crate::transport::BoxError),
    #[error("streaming connection")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Protocol(&'static str),
    #[error("timed out waiting for client to create streams")]
    NoStreams,
    #[error("connection closed")]
    Closed,
}

impl From<StreamError> for std::io::Error {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Io(error) => error,
            StreamError::Closed => Self::from(std::io::ErrorKind::ConnectionReset),
            other => Self::other(other),
        }
    }
}
