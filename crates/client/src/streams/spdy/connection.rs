//! The handle of a connection, and the streams its peer offers.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::frame::reset;
use super::state::Shared;
use super::stream::Stream;
use super::{Frame, Headers, tasks};
use crate::streams::{STREAM_CREATION_TIMEOUT, StreamError};

/// Which end opened the connection: clients' streams have odd numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}
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
        let shared = Arc::new(Shared::new());
        let written = CancellationToken::new();
        orlop_base::task::spawn(tasks::write_all(shared.clone(), write, written.clone()));
        orlop_base::task::spawn(tasks::read_all(shared.clone(), read, written));
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
        self.shared.send(Frame::GoAway { last_good: self.shared.last_peer_id() });
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
pub struct Offered(pub(super) Stream);

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
