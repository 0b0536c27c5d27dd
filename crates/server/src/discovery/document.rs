//! A document that changes seldom: kept as small as it goes, told apart by its hash.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::request::Parts;
use http::{Response, StatusCode};
use orlop_api::Value;
use orlop_client::transport::{self, Body};

use crate::wire::{pieces, respond};

/// Held compressed: the OpenAPI documents are six megabytes of repetition, asked for once a day.
pub struct Document {
    packed: Bytes,
    etag: String,
}

impl Document {
    /// The same document in another form goes by the same hash.
    pub fn rewritten(&self, write: impl FnOnce(&Value) -> Vec<u8>) -> Self {
        let value = serde_json::from_slice(&pieces::unpack(&self.packed)).unwrap_or_default();
        Self { packed: pieces::pack(&write(&value)), etag: self.etag.clone() }
    }

    pub fn new(value: &Value) -> Self {
        let json = orlop_api::codec::json::encode(value);
        let digest = ring::digest::digest(&ring::digest::SHA512, &json);
        let mut etag = String::with_capacity(digest.as_ref().len() * 2);
        for byte in digest.as_ref() {
            let _ = write!(etag, "{byte:02X}");
        }
        Self { packed: pieces::pack(&json), etag }
    }

    /// The hash of the document, unquoted.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// 304 when the client already has it.
    pub fn serve(&self, head: &Parts, content_type: &'static str) -> Response<Body> {
        let quoted = format!("\"{}\"", self.etag);
        let has = head.headers.get(IF_NONE_MATCH).is_some_and(|sent| sent.as_bytes() == quoted.as_bytes());
        let mut response = if has { not_modified() } else { self.whole(head, content_type) };
        let headers = response.headers_mut();
        if let Ok(etag) = HeaderValue::from_str(&quoted) {
            headers.insert(ETAG, etag);
        }
        headers.append(VARY, HeaderValue::from_static("Accept"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
        response
    }

    fn whole(&self, head: &Parts, content_type: &'static str) -> Response<Body> {
        let packed = respond::accepts_gzip(&head.headers);
        let bytes = if packed { self.packed.clone() } else { pieces::unpack(&self.packed) };
        let mut response = Response::new(transport::full(bytes));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if packed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        response
    }
}

fn not_modified() -> Response<Body> {
    let mut response = Response::new(transport::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}
