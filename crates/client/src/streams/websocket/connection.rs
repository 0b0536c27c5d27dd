//! A running WebSocket: a writing task and an incoming half that its owner polls.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

use super::frame::{Decoder, Event, Opcode, Role, put_header, unmask};
use crate::streams::queue::{Closed, Queue};
use crate::streams::{Connection, QUEUE_BYTES};

/// What we send.
#[derive(Clone, Debug)]
pub enum Message {
    /// `lead` goes before the payload in the same message: the channel number.
    Data {
        text: bool,
        lead: Option<u8>,
        payload: Bytes,
    },
    Pong(Bytes),
    /// Ends the connection once everything before it is written.
    Close(u16),
}

/// Status code of a close with nothing to complain about.
const NORMAL_CLOSURE: u16 = 1000;
/// Status code for a peer that breaks the protocol.
const PROTOCOL_ERROR: u16 = 1002;

/// A piece of a data message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub text: bool,
    pub first: bool,
    pub last: bool,
    pub bytes: Bytes,
}

/// Runs the protocol over an upgraded connection. The writing task ends after a close, when the
/// peer is gone, or when all handles are.
pub fn start(connection: Connection, role: Role) -> (Incoming, Outgoing) {
    let (read, write) = tokio::io::split(connection);
    let shared = Arc::new(Shared { queue: Queue::new(QUEUE_BYTES), written: CancellationToken::new() });
    let writer = shared.clone();
    orlop_base::task::spawn(async move {
        if let Err(error) = write_all(write, &writer.queue, role).await {
            tracing::debug!(%error, "websocket write failed");
        }
        writer.queue.abandon();
        writer.written.cancel();
    });
    let outgoing = Outgoing { shared: Arc::new(Handle(shared)) };
    (Incoming { io: read, decoder: Decoder::new(role), outgoing: outgoing.clone(), ended: false }, outgoing)
}

#[derive(Debug)]
struct Shared {
    queue: Queue<Message>,
    /// The writing task is over.
    written: CancellationToken,
}

/// Ends the queue when the last handle goes; the writing task holds `Shared` itself.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.queue.end();
    }
}

/// Sends messages.
#[derive(Clone, Debug)]
pub struct Outgoing {
    shared: Arc<Handle>,
}

impl Outgoing {
    fn inner(&self) -> &Shared {
        &self.shared.0
    }

    /// Ready when another data message may be sent.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().queue.poll_ready(cx).map_err(|Closed| io::ErrorKind::BrokenPipe.into())
    }

    /// Queues a message; wait for [`Outgoing::poll_ready`] before each data message.
    pub fn push(&self, message: Message) -> io::Result<()> {
        let weight = match &message {
            Message::Data { payload, .. } => payload.len() + 1,
            Message::Pong(_) | Message::Close(_) => 0,
        };
        self.inner().queue.push(message, weight).map_err(|Closed| io::ErrorKind::BrokenPipe.into())
    }

    pub async fn send(&self, message: Message) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_ready(cx)).await?;
        self.push(message)
    }

    /// Says good-bye after what is queued. Further messages fail.
    pub fn close(&self) {
        let _ = self.push(Message::Close(NORMAL_CLOSURE));
        self.inner().queue.end();
    }

    /// Resolves when nothing more will be written.
    pub async fn written(&self) {
        self.inner().written.cancelled().await;
    }
}

/// Receives messages; pings are answered while it is polled.
#[derive(Debug)]
pub struct Incoming {
    io: ReadHalf<Connection>,
    decoder: Decoder,
    outgoing: Outgoing,
    ended: bool,
}

impl Incoming {
    /// The next piece of a data message, `None` after the peer's close, an error when the
    /// connection broke without one.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Chunk>>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            match self.decoder.next_event() {
                Ok(Some(Event::Data { text, first, last, bytes })) => {
                    return Poll::Ready(Some(Ok(Chunk { text, first, last, bytes })));
                }
                Ok(Some(Event::Ping(payload))) => {
                    let weight = payload.len() + 1;
                    self.outgoing.inner().queue.push_if_room(Message::Pong(payload), weight);
                }
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close(_))) => {
                    self.ended = true;
                    self.outgoing.close();
                }
                Ok(None) => match ready!(self.poll_fill(cx)) {
                    Ok(0) => return self.fail(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {}
                    Err(error) => return self.fail(error),
                },
                Err(error) => {
                    let _ = self.outgoing.push(Message::Close(PROTOCOL_ERROR));
                    return self.fail(io::Error::other(error));
                }
            }
        }
    }

    pub async fn next(&mut self) -> Option<io::Result<Chunk>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn fail(&mut self, error: io::Error) -> Poll<Option<io::Result<Chunk>>> {
        self.ended = true;
        self.outgoing.inner().queue.end();
        Poll::Ready(Some(Err(error)))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        tokio_util::io::poll_read_buf(Pin::new(&mut self.io), cx, self.decoder.buffer())
    }
}

async fn write_all(mut io: WriteHalf<Connection>, queue: &Queue<Message>, role: Role) -> io::Result<()> {
    let mut head = BytesMut::new();
    loop {
        if queue.is_empty() {
            io.flush().await?;
        }
        let Ok(message) = queue.pop().await else { break };
        let closing = matches!(message, Message::Close(_));
        let payload = encode(&mut head, message, role);
        io.write_all_buf(&mut Buf::chain(&mut head, payload)).await?;
        if closing {
            break;
        }
    }
    io.shutdown().await
}

/// Puts a frame's beginning into `head` and returns what follows it uncopied. Clients must mask,
/// so their payload is copied.
fn encode(head: &mut BytesMut, message: Message, role: Role) -> Bytes {
    let (opcode, lead, payload) = match message {
        Message::Data { text: true, lead, payload } => (Opcode::Text, lead, payload),
        Message::Data { text: false, lead, payload } => (Opcode::Binary, lead, payload),
        Message::Pong(payload) => (Opcode::Pong, None, payload),
        Message::Close(code) => (Opcode::Close, None, Bytes::copy_from_slice(&code.to_be_bytes())),
    };
    let mask = (role == Role::Client).then(|| orlop_base::id::with_rng(|rng| rng.u32(..)).to_ne_bytes());
    head.clear();
    put_header(head, opcode, payload.len() + usize::from(lead.is_some()), mask);
    let start = head.len();
    head.extend(lead);
    match mask {
        None => payload,
        Some(mask) => {
            head.put_slice(&payload);
            unmask(&mut head[start..], mask);
            Bytes::new()
        }
    }
}
