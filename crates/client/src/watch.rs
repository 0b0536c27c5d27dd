//! The events of one watch, cut from the response body as it arrives.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::Method;
use http_body::Body as _;
use orlop_api::status::StatusError;

use crate::error::{Error, Result};
use crate::json;
use crate::object::Decode;
use crate::transport::Body;

/// One event larger than this is not an object of any API server (etcd's request limit is 1.5 MiB,
/// Orlop's the same; managed fields and encoding double it at worst).
const MAX_EVENT_BYTES: usize = 16 << 20;

/// The annotation that ends a WatchList's initial events.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What happened to one object.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent<K> {
    Added(K),
    Modified(K),
    /// The object as it last was, with the deletion's revision.
    Deleted(K),
    /// Nothing happened up to this revision; `initial_events_end`: all that existed has been sent.
    Bookmark {
        resource_version: String,
        initial_events_end: bool,
    },
}

/// A running watch; ends when the server ends it. Dropping it ends it too.
pub struct Watch<K> {
    path: String,
    body: Body,
    buffer: BytesMut,
    /// Bytes at the front of `buffer` known to hold no newline.
    scanned: usize,
    lines: VecDeque<Bytes>,
    decode: Decode<K>,
}

impl<K> Watch<K> {
    pub(crate) fn new(path: String, body: Body, decode: Decode<K>) -> Self {
        Self { path, body, buffer: BytesMut::new(), scanned: 0, lines: VecDeque::new(), decode }
    }

    /// The next event; `None` when the server has ended the watch.
    pub async fn next(&mut self) -> Option<Result<WatchEvent<K>>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn take_lines(&mut self) -> Result<()> {
        while let Some(found) = self.buffer[self.scanned..].iter().position(|b| *b == b'\n') {
            let line = self.buffer.split_to(self.scanned + found + 1).freeze();
            self.scanned = 0;
            if !line.trim_ascii().is_empty() {
                self.lines.push_back(line);
            }
        }
        self.scanned = self.buffer.len();
        if self.buffer.len() > MAX_EVENT_BYTES {
            return Err(self.lost(format!("a watch event exceeds {MAX_EVENT_BYTES} bytes").into()));
        }
        Ok(())
    }

    fn lost(&self, source: crate::transport::BoxError) -> Error {
        Error::Transport { method: Method::GET, path: self.path.clone(), source }
    }

    fn decode(&self, line: &[u8]) -> Result<WatchEvent<K>> {
        decode_event(line, self.decode)
            .unwrap_or_else(|source| Err(Error::Decode { method: Method::GET, path: self.path.clone(), source }))
    }
}

impl<K> Stream for Watch<K> {
    type Item = Result<WatchEvent<K>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Poll::Ready(Some(self.decode(&line)));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.buffer.extend_from_slice(&data);
                    if let Err(error) = self.take_lines() {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.lost(error)))),
                // The last line may lack its newline.
                None if !self.buffer.is_empty() => {
                    let rest = self.buffer.split().freeze();
                    self.scanned = 0;
                    self.lines.push_back(rest);
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

/// The outer error: the line is not an event. The inner one: the server reports a failure.
fn decode_event<K>(line: &[u8], decode: Decode<K>) -> Result<Result<WatchEvent<K>>, serde_json::Error> {
    let (mut event_type, mut object) = (&b""[..], &b"null"[..]);
    for member in json::members(line) {
        match member.key {
            b"type" => event_type = member.value,
            b"object" => object = member.value,
            _ => {}
        }
    }
    Ok(Ok(match event_type {
        b"\"ADDED\"" => WatchEvent::Added(decode(object)?),
        b"\"MODIFIED\"" => WatchEvent::Modified(decode(object)?),
        b"\"DELETED\"" => WatchEvent::Deleted(decode(object)?),
        b"\"BOOKMARK\"" => {
            let object: serde_json::Value = serde_json::from_slice(object)?;
            let end = &object["metadata"]["annotations"][INITIAL_EVENTS_END];
            WatchEvent::Bookmark {
                resource_version: orlop_api::meta::resource_version(&object).to_owned(),
                initial_events_end: end == "true",
            }
        }
        _ => return Ok(Err(failure(line, object)?)),
    }))
}

fn failure(line: &[u8], object: &[u8]) -> Result<Error, serde_json::Error> {
    // Neither an event nor JSON: the decoder says what is wrong.
    serde_json::from_slice::<serde_json::Value>(line)?;
    let code = serde_json::from_slice::<serde_json::Value>(object)?["code"].as_u64().unwrap_or(500);
    Ok(StatusError::from_body(u16::try_from(code).unwrap_or(500), object).into())
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use http_body_util::{BodyExt, StreamBody};
    use orlop_api::typed::kinds::ConfigMap;

    use super::*;
    use crate::object::Object;

    /// The same text in chunks of every size gives the same events.
    #[tokio::test]
    async fn events_survive_any_chunking() {
        let text = concat!(
            r#"{"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a\n"}}}"#,
            "\n",
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
            "\n\n",
            r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#,
        );
        for size in [1, 7, 64, text.len()] {
            let frames: Vec<_> = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
            let frames = futures_util::stream::iter(frames).map(|b| Ok(http_body::Frame::data(b)));
            let mut watch =
                Watch::new("/x".into(), StreamBody::new(frames).boxed_unsync(), <ConfigMap as Object>::decode);
            let Some(Ok(WatchEvent::Added(map))) = watch.next().await else { panic!("an addition first") };
            assert_eq!(map.metadata.name.as_deref(), Some("a\n"));
            let bookmark = watch.next().await.unwrap().unwrap();
            assert_eq!(bookmark, WatchEvent::Bookmark { resource_version: "7".into(), initial_events_end: true });
            assert!(watch.next().await.unwrap().unwrap_err().is_expired());
            assert!(watch.next().await.is_none());
        }
    }
}
