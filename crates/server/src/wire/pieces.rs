//! A body made of shared pieces: stored objects and the punctuation between them.
//!
//! Pieces are coalesced into chunks worth a TLS record; nothing is copied before the connection
//! asks for it, so a large list costs its pointers until it is sent.

use std::collections::VecDeque;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::{GzDecoder, GzEncoder};
use http_body::{Body, Frame, SizeHint};

use orlop_client::transport::BoxError;

/// Four TLS records: large enough that per-frame costs vanish, small enough to start at once.
const CHUNK: usize = 64 * 1024;

#[derive(Default)]
pub struct Pieces {
    queue: VecDeque<Bytes>,
    remaining: u64,
}

impl Pieces {
    pub fn push(&mut self, piece: impl Into<Bytes>) {
        let piece = piece.into();
        self.remaining += piece.len() as u64;
        self.queue.push_back(piece);
    }

    /// Bytes not yet sent.
    pub fn len(&self) -> u64 {
        self.remaining
    }

    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    /// The whole as one slice; one piece is not copied.
    pub fn into_bytes(mut self) -> Bytes {
        if self.queue.len() == 1 {
            return self.queue.pop_front().expect("checked above");
        }
        let mut out = BytesMut::with_capacity(self.remaining as usize);
        self.queue.iter().for_each(|piece| out.extend_from_slice(piece));
        out.freeze()
    }

    fn next_chunk(&mut self) -> Option<Bytes> {
        let first = self.queue.pop_front()?;
        let chunk = if first.len() >= CHUNK / 4 || self.queue.is_empty() {
            first
        } else {
            let mut out = BytesMut::with_capacity(CHUNK.min(self.remaining as usize));
            out.extend_from_slice(&first);
            while self.queue.front().is_some_and(|next| out.len() + next.len() <= CHUNK) {
                out.extend_from_slice(&self.queue.pop_front().expect("checked above"));
            }
            out.freeze()
        };
        self.remaining -= chunk.len() as u64;
        Some(chunk)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.next_chunk().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.queue.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// The same pieces, compressed as they are sent.
pub struct Gzipped {
    pieces: Pieces,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Gzipped {
    pub fn new(pieces: Pieces) -> Self {
        // Level 1, as upstream: the network is nearer than the CPU is fast.
        Self { pieces, encoder: Some(GzEncoder::new(Vec::with_capacity(CHUNK), Compression::new(1))) }
    }

    fn next_chunk(&mut self) -> Result<Option<Bytes>, std::io::Error> {
        while let Some(encoder) = &mut self.encoder {
            match self.pieces.next_chunk() {
                Some(chunk) => {
                    encoder.write_all(&chunk)?;
                    if encoder.get_ref().len() >= CHUNK / 2 {
                        let out = std::mem::replace(encoder.get_mut(), Vec::with_capacity(CHUNK));
                        return Ok(Some(out.into()));
                    }
                }
                None => {
                    let encoder = self.encoder.take().expect("matched above");
                    return Ok(Some(encoder.finish()?.into()));
                }
            }
        }
        Ok(None)
    }
}

impl Body for Gzipped {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let chunk = self.next_chunk().map_err(BoxError::from).transpose();
        Poll::Ready(chunk.map(|result| result.map(Frame::data)))
    }
}

/// A whole body compressed, to be kept.
pub fn pack(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to memory cannot fail").into()
}

/// What [`pack`] made, whole again.
pub fn unpack(packed: &[u8]) -> Bytes {
    let mut decoder = GzDecoder::new(Vec::new());
    decoder.write_all(packed).and_then(|()| decoder.finish()).expect("made by pack").into()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn sample() -> (Pieces, Vec<u8>) {
        let mut pieces = Pieces::default();
        let mut whole = Vec::new();
        for n in 0..3000usize {
            let piece = vec![b'a' + (n % 26) as u8; (n * 7) % 900 + if n % 500 == 0 { CHUNK } else { 0 }];
            whole.extend_from_slice(&piece);
            pieces.push(piece);
        }
        (pieces, whole)
    }

    #[tokio::test]
    async fn pieces_arrive_whole_and_in_few_frames() {
        let (mut pieces, whole) = sample();
        assert_eq!(pieces.size_hint().exact(), Some(whole.len() as u64));
        let (mut got, mut frames) = (Vec::new(), 0);
        while let Some(frame) = pieces.frame().await {
            got.extend_from_slice(&frame.unwrap().into_data().unwrap());
            frames += 1;
        }
        assert_eq!(got, whole);
        assert!(pieces.is_end_stream() && pieces.is_empty());
        assert!(frames < whole.len() / CHUNK * 2 + 16, "{frames} frames for {} bytes", whole.len());
    }

    #[tokio::test]
    async fn gzip_round_trips() {
        let (pieces, whole) = sample();
        let packed = Gzipped::new(pieces).collect().await.unwrap().to_bytes();
        let mut unpacked = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*packed), &mut unpacked).unwrap();
        assert_eq!(unpacked, whole);
    }
}
