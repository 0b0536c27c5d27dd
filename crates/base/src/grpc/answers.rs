//! Messages coming in.

use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::PREFIX_BYTES;
use super::failure::{Failure, broken, check};
use crate::protobuf::Malformed;

/// Larger than any page of objects that etcd's limit of 1.5 MiB allows for.
const MAX_ANSWER_BYTES: usize = 1 << 30;

/// Messages coming in.
pub struct Answers {
    body: Incoming,
    buffer: BytesMut,
}

impl Answers {
    pub(super) fn new(response: Response<Incoming>) -> Answers {
        Answers { body: response.into_body(), buffer: BytesMut::new() }
    }

    /// `None` after the last. Safe to cancel.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Failure::Broken("an answer was cut off".into())),
                Some(Err(error)) => return Err(broken(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => frame.trailers_ref().map_or(Ok(()), check)?,
                },
            }
        }
    }

    /// The message at the buffer's start, if it is whole.
    fn take(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        // Nobody compresses what nobody offered to read.
        if prefix[0] != 0 || length > MAX_ANSWER_BYTES {
            return Err(Malformed.into());
        }
        if rest.len() < length {
            self.buffer.reserve(length - rest.len());
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}
