//! The end of a request's record: what was answered, and when the last of it was sent.

use std::io::Read as _;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use orlop_api::Value;
use orlop_api::codec::{protobuf, yaml};
use orlop_api::status::StatusError;
use orlop_client::transport::{Body, full};

use super::event::Status;
use super::policy::Level;
use super::trail::Trail;
use crate::pipeline::is_long_running;
use crate::request::RequestInfo;
use crate::wire::held::hold;

/// Stands in an answer's extensions where its object is a Status.
#[derive(Clone, Debug)]
pub struct StatusAnswer(pub Value);

impl Trail {
    /// The request failed, as its answer will say.
    pub(crate) fn failed(&self, error: &StatusError) {
        if self.level() > Level::None {
            self.answer_status(Status::of(error));
            self.answer_object(&error.to_value());
        }
    }

    /// Records the answer: at once where it is whole, else when its last byte is sent or its connection ends.
    pub(crate) async fn answered(self, info: &RequestInfo, mut response: Response<Body>) -> Response<Body> {
        let level = self.level();
        if level == Level::None {
            return response;
        }
        if let Some(StatusAnswer(status)) = response.extensions_mut().remove() {
            self.answer_status(read_status(&status));
        }
        self.answer_code(response.status().as_u16());
        let ours = !is_long_running(info) && response.extensions().get::<PassedOn>().is_none();
        if level == Level::RequestResponse && ours && !self.has_answer_object() {
            response = self.capture(response).await;
        }
        if !self.is_identified() {
            self.started().await;
            self.end();
            return response;
        }
        if !is_long_running(info) {
            self.complete().await;
            return response;
        }
        self.started().await;
        response.map(|body| hold(body, self))
    }

    /// Notes the answer's object; the answer itself stays as it is.
    async fn capture(&self, response: Response<Body>) -> Response<Body> {
        let (head, body) = response.into_parts();
        let bytes = match body.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) => {
                tracing::debug!(%error, "an answer could not be read for its record");
                Bytes::new()
            }
        };
        if let Some(object) = decode(&head.headers, &bytes) {
            self.answer_object(&object);
        }
        Response::from_parts(head, full(bytes))
    }
}

/// Marks an answer that another server made: its body is none of ours to look at.
#[derive(Clone, Copy, Debug)]
pub struct PassedOn;

fn read_status(status: &Value) -> Status {
    let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
    let details = status.get("details").cloned();
    Status { status: text("status"), message: text("message"), reason: text("reason"), details, code: 0 }
}

/// The object of an answer; `None` for text.
fn decode(headers: &HeaderMap, bytes: &Bytes) -> Option<Value> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut unpacked = Vec::new();
    let bytes: &[u8] = if text(CONTENT_ENCODING) == "gzip" {
        flate2::read::GzDecoder::new(&**bytes).read_to_end(&mut unpacked).ok()?;
        &unpacked
    } else {
        bytes
    };
    let object: Value = match text(CONTENT_TYPE).split(';').next().unwrap_or_default() {
        "application/json" => serde_json::from_slice(bytes).ok()?,
        "application/yaml" => yaml::from_yaml(bytes).ok()?,
        "application/vnd.kubernetes.protobuf" => protobuf::decode_or(bytes, "", "").ok()?.2,
        _ => return None,
    };
    object.get("kind").is_some().then_some(object)
}
