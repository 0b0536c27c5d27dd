//! Kubernetes' channel sub-protocols of WebSocket: every message starts with the number of the
//! channel it belongs to (`k8s.io/streaming/pkg/httpstream/wsstream`).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};

use super::pipe::{Feed, Sink, Writer, pipe};
use super::websocket::{Chunk, Incoming, Message, Outgoing};
use super::{CHUNK_BYTES, LINGER, Reader};

/// In v5, a message on this channel ends the channel whose number it carries (KEP-4006).
const CLOSE_CHANNEL: u8 = 255;

/// How channel numbers and payloads are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A byte, then the bytes.
    Binary,
    /// A digit, then base64.
    Base64,
}

/// The properties of one sub-protocol.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    pub encoding: Encoding,
    /// Knows the close signal.
    pub closes: bool,
}

/// Closes the connection when the last writer that holds it is gone: how clients learn of the end of a protocol whose
/// channels have none of their own.
#[derive(Debug)]
pub struct Closing(Outgoing);

impl Closing {
    pub fn new(outgoing: Outgoing) -> Arc<Self> {
        Arc::new(Self(outgoing))
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// One end of a set of channels over a WebSocket.
#[derive(Debug)]
pub struct Channels {
    protocol: Protocol,
    outgoing: Outgoing,
    readers: BTreeMap<u8, Feed>,
}

impl Channels {
    pub fn new(protocol: Protocol, outgoing: Outgoing) -> Self {
        Self { protocol, outgoing, readers: BTreeMap::new() }
    }

    /// What the peer sends on a channel. Make all readers before [`Channels::serve`]; messages
    /// on other channels are dropped.
    pub fn reader(&mut self, channel: u8) -> Reader {
        let (feed, reader) = pipe();
        self.readers.insert(channel, feed);
        reader
    }

    /// Where we send on a channel. Its end is signalled when the protocol has a signal for it.
    pub fn writer(&self, channel: u8) -> Writer {
        self.sink(channel, self.protocol, None)
    }

    /// As [`Channels::writer`], for one of those with which the connection ends.
    pub fn closing_writer(&self, channel: u8, closing: &Arc<Closing>) -> Writer {
        self.sink(channel, self.protocol, Some(closing.clone()))
    }

    /// As [`Channels::writer`], never signalling its end: servers end all channels at once, by
    /// closing the connection.
    pub fn server_writer(&self, channel: u8) -> Writer {
        self.sink(channel, Protocol { closes: false, ..self.protocol }, None)
    }

    fn sink(&self, channel: u8, protocol: Protocol, closing: Option<Arc<Closing>>) -> Writer {
        Writer::new(ChannelSink { channel, protocol, outgoing: self.outgoing.clone(), _closing: closing })
    }

    /// Sorts incoming messages to their readers until the peer closes, or for a moment after our
    /// own close. Owned by a task of the caller's.
    pub async fn serve(self, incoming: Incoming) {
        let outgoing = self.outgoing.clone();
        let after_close = async {
            outgoing.written().await;
            tokio::time::sleep(LINGER).await;
        };
        tokio::select! {
            biased;
            () = self.sort(incoming) => {}
            () = after_close => {}
        }
    }

    async fn sort(self, mut incoming: Incoming) {
        let mut message = Demux::default();
        loop {
            match incoming.next().await {
                Some(Ok(chunk)) => self.route(&mut message, chunk).await,
                Some(Err(error)) => {
                    tracing::debug!(%error, "websocket broke");
                    return self.readers.values().for_each(Feed::break_off);
                }
                None => return self.readers.values().for_each(Feed::end),
            }
        }
    }

    async fn route(&self, message: &mut Demux, chunk: Chunk) {
        let Some((channel, bytes)) = message.split(self.protocol.encoding, chunk) else { return };
        if channel == CLOSE_CHANNEL && self.protocol.closes {
            if let Some(feed) = bytes.first().and_then(|channel| self.readers.get(channel)) {
                feed.end();
            }
        } else if let Some(feed) = self.readers.get(&channel) {
            feed.send(bytes).await;
        }
    }
}

/// Where a message that comes in pieces belongs.
#[derive(Debug, Default)]
struct Demux {
    channel: Option<u8>,
    /// base64 digits of an incomplete group of four.
    carry: Vec<u8>,
}

impl Demux {
    /// The channel and payload of a piece; `None` when it carries nothing that can be used.
    fn split(&mut self, encoding: Encoding, mut chunk: Chunk) -> Option<(u8, Bytes)> {
        if chunk.first {
            *self = Self::default();
        }
        let channel = match self.channel {
            Some(channel) => channel,
            None if chunk.bytes.is_empty() => return None,
            None => match encoding {
                Encoding::Binary => chunk.bytes.get_u8(),
                Encoding::Base64 => chunk.bytes.get_u8().wrapping_sub(b'0'),
            },
        };
        self.channel = Some(channel);
        match encoding {
            Encoding::Binary => Some((channel, chunk.bytes)),
            Encoding::Base64 => Some((channel, self.decode(&chunk.bytes)?)),
        }
    }

    /// Decodes whole groups. Text that is not base64 is dropped, as upstream drops the message.
    fn decode(&mut self, text: &[u8]) -> Option<Bytes> {
        self.carry.extend_from_slice(text);
        let whole = self.carry.len() / 4 * 4;
        let decoded = STANDARD.decode(&self.carry[..whole]).ok()?;
        self.carry.drain(..whole);
        Some(decoded.into())
    }
}

/// A channel's outgoing direction.
#[derive(Debug)]
struct ChannelSink {
    channel: u8,
    protocol: Protocol,
    outgoing: Outgoing,
    _closing: Option<Arc<Closing>>,
}

impl Sink for ChannelSink {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.outgoing.poll_ready(cx).map_ok(|()| CHUNK_BYTES)
    }

    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.outgoing.push(match self.protocol.encoding {
            Encoding::Binary => Message::Data { text: false, lead: Some(self.channel), payload: bytes },
            Encoding::Base64 => {
                let payload = STANDARD.encode(&bytes).into();
                Message::Data { text: true, lead: Some(b'0' + self.channel), payload }
            }
        })
    }

    fn finish(&mut self) {
        if self.protocol.closes {
            let payload = Bytes::copy_from_slice(&[self.channel]);
            let _ = self.outgoing.push(Message::Data { text: false, lead: Some(CLOSE_CHANNEL), payload });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(encoding: Encoding, messages: &[&[&str]]) -> Vec<Option<(u8, Bytes)>> {
        let mut demux = Demux::default();
        let mut out = Vec::new();
        for message in messages {
            for (i, piece) in message.iter().enumerate() {
                let bytes = Bytes::copy_from_slice(piece.as_bytes());
                let (first, last) = (i == 0, i + 1 == message.len());
                out.push(demux.split(encoding, Chunk { text: false, first, last, bytes }));
            }
        }
        out
    }

    #[test]
    fn the_first_byte_of_a_message_names_its_channel() {
        let got = pieces(Encoding::Binary, &[&["\x01ab", "c"], &["\x02"], &[""], &["\x00x"]]);
        let bytes = Bytes::from_static;
        assert_eq!(
            got,
            [Some((1, bytes(b"ab"))), Some((1, bytes(b"c"))), Some((2, bytes(b""))), None, Some((0, bytes(b"x")))]
        );
    }

    #[test]
    fn base64_groups_may_be_cut_anywhere() {
        let got = pieces(Encoding::Base64, &[&["0Zm9", "vCg=", "="], &["1!!!!"], &["1Cg=="]]);
        let bytes = Bytes::from_static;
        assert_eq!(
            got,
            [Some((0, bytes(b""))), Some((0, bytes(b"foo"))), Some((0, bytes(b"\n"))), None, Some((1, bytes(b"\n")))]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_total(messages in proptest::collection::vec(any::<Vec<u8>>(), 0..8), base64 in any::<bool>()) {
            let encoding = if base64 { Encoding::Base64 } else { Encoding::Binary };
            let mut demux = Demux::default();
            for (i, bytes) in messages.into_iter().enumerate() {
                let chunk = Chunk { text: base64, first: i % 2 == 0, last: i % 2 == 1, bytes: bytes.into() };
                let _ = demux.split(encoding, chunk);
            }
        }
    }
}
