//! Answers: objects, statuses and lists in the form the client accepts.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt as _;
use orlop_api::Value;
use orlop_api::codec;
use orlop_api::schema;
use orlop_api::status::StatusError;
use orlop_base::clock;
use orlop_client::transport::Body;
use orlop_store::Entry;

use super::negotiate::{self, Media, MetaVersion, Offer, Output, Shape};
use super::pieces::{Gzipped, Pieces};
use super::shape::{self, Include};
use crate::audit::StatusAnswer;
use crate::memo::Memo;
use crate::observe::{Layer, counted};
use crate::request::RequestInfo;
use crate::resource::{Resource, parse_stored};

/// Smaller bodies are not worth compressing (`defaultGzipThresholdBytes`).
const GZIP_THRESHOLD: u64 = 128 * 1024;

/// One object on its way out.
pub enum Content {
    /// As stored.
    Entry(Arc<Entry>),
    /// JSON in the stored version that did not become an entry: a dry run.
    Stored(Bytes),
    /// Any other object in its final version: a Status, a Scale, a review.
    Value(Value),
}

/// Writes one object.
pub fn object(
    resource: &Resource,
    info: &RequestInfo,
    headers: &HeaderMap,
    output: Output,
    code: u16,
    content: Content,
) -> Result<Response<Body>, StatusError> {
    let mut pieces = Pieces::default();
    pieces.push(match output.shape {
        // A Status is never reshaped.
        Some(shape) if !is_status(&content) => {
            let include = Include::parse(info.query("includeObject").unwrap_or_default())?;
            let reshape = || reshape(resource, shape, include, &content);
            encode_json(output, counted(Layer::Transformation, reshape)?)?
        }
        _ => plain(resource, output, &content)?,
    });
    let mut response = finish(headers, code, output.media, pieces);
    if let Content::Value(value) = content
        && value["kind"] == "Status"
    {
        response.extensions_mut().insert(StatusAnswer(value));
    }
    Ok(response)
}

fn is_status(content: &Content) -> bool {
    matches!(content, Content::Value(value) if value["kind"] == "Status" && value["apiVersion"] == "v1")
}

/// The object itself in the output's media type.
fn plain(resource: &Resource, output: Output, content: &Content) -> Result<Bytes, StatusError> {
    match content {
        Content::Entry(entry) if output.media == Media::Protobuf => protobuf(resource, entry),
        Content::Entry(entry) if output.media == Media::Cbor => cbor(resource, entry),
        Content::Entry(entry) => encode_json(output, resource.json(entry)),
        Content::Stored(json) => encode_json(output, resource.convert_json(json)),
        Content::Value(value) => encode_value(output, value),
    }
}

/// The entry's protobuf envelope in the resource's version, made once per entry.
pub fn protobuf(resource: &Resource, entry: &Entry) -> Result<Bytes, StatusError> {
    let make = || {
        let stored = parse_stored(entry)?;
        encode_value(Output { media: Media::Protobuf, shape: None, pretty: false }, &resource.versioned(&stored))
    };
    if !resource.is_stored_version() {
        return make();
    }
    match entry.memo.protobuf.get() {
        Some(bytes) => Ok(bytes.clone()),
        None => {
            let bytes = make()?;
            Ok(entry.memo.protobuf.get_or_init(|| bytes).clone())
        }
    }
}

/// The entry in CBOR in the resource's version, made once per entry.
pub fn cbor(resource: &Resource, entry: &Entry) -> Result<Bytes, StatusError> {
    let make = || encode_json(Output { media: Media::Cbor, ..Output::JSON }, resource.json(entry));
    if resource.keeps_forms_of(entry) { Memo::of(entry).cbor(make) } else { make() }
}

/// JSON as the output wants it; only plain JSON goes through untouched.
pub fn encode_json(output: Output, json: Bytes) -> Result<Bytes, StatusError> {
    if output.media == Media::Json && !output.pretty {
        return Ok(json);
    }
    let value: Value = serde_json::from_slice(&json).map_err(StatusError::internal)?;
    encode_value(output, &value)
}

/// Any object by its own apiVersion and kind.
pub fn encode_value(output: Output, value: &Value) -> Result<Bytes, StatusError> {
    Ok(Bytes::from(match output.media {
        Media::Json if output.pretty => {
            let mut text = serde_json::to_vec_pretty(value).map_err(StatusError::internal)?;
            text.push(b'\n');
            text
        }
        Media::Json => codec::json::encode(value),
        Media::Yaml => codec::yaml::to_yaml(value).into_bytes(),
        Media::Cbor => codec::cbor::encode(value),
        Media::Protobuf => {
            let text = |field: &str| value[field].as_str().unwrap_or_default();
            let schema = schema::builtin().of(text("apiVersion"), text("kind")).ok_or_else(|| {
                StatusError::internal(format!("{} {} has no protobuf form", text("apiVersion"), text("kind")))
            })?;
            codec::protobuf::encode(value, schema.get())
        }
    }))
}

fn reshape(resource: &Resource, shape: Shape, include: Include, content: &Content) -> Result<Bytes, StatusError> {
    let json = match content {
        Content::Entry(entry) => resource.json(entry),
        Content::Stored(json) => resource.convert_json(json),
        Content::Value(value) => Bytes::from(codec::json::encode(value)),
    };
    match shape {
        Shape::Partial(version) => Ok(shape::partial(resource.kind(), &json, version)),
        Shape::PartialList(_) => Err(StatusError::new(
            406,
            "NotAcceptable",
            "you requested PartialObjectMetadataList, but the requested object is not a list",
        )),
        Shape::Table(version) => {
            let now = clock::unix_seconds();
            let cells = match content {
                Content::Entry(entry) => shape::cells_of(resource, entry, now)?,
                Content::Stored(json) => {
                    let stored = serde_json::from_slice(json).map_err(StatusError::internal)?;
                    shape::cells(resource.kind(), &stored, now)
                }
                Content::Value(value) => shape::cells(resource.kind(), value, now),
            };
            Ok(table_of_one(resource, &cells, &json, include, version, true))
        }
    }
}

/// A table with one row; later events of a watch leave the columns out.
pub fn table_of_one(
    resource: &Resource,
    cells: &[u8],
    json: &[u8],
    include: Include,
    version: MetaVersion,
    with_columns: bool,
) -> Bytes {
    let columns = with_columns.then(|| shape::columns(resource.kind()));
    let head = shape::table_head(version, &shape::table_metadata(json), columns.as_ref());
    let row = shape::row(resource.kind(), cells, json, include, version);
    Bytes::from([&head[..], &row, shape::TABLE_TAIL].concat())
}

/// Puts a head on a body, compressing it when that is asked for and worth it.
pub fn finish(headers: &HeaderMap, code: u16, media: Media, pieces: Pieces) -> Response<Body> {
    let gzip = pieces.len() > GZIP_THRESHOLD && accepts_gzip(headers);
    let body = if gzip { Gzipped::new(pieces).boxed_unsync() } else { pieces.boxed_unsync() };
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media.name()));
    if gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    response
}

pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    encodings.flat_map(|v| v.split(',')).any(|e| e.split(';').next().unwrap_or_default().trim() == "gzip")
}

/// A failure, in the client's format if that is one of ours, else in JSON.
pub fn error(headers: &HeaderMap, info: &RequestInfo, error: &StatusError) -> Response<Body> {
    let offer = Offer { protobuf: true, cbor: info.cbor, shapes: false, watch: false };
    let output = negotiate::output(headers, info, offer).unwrap_or(Output::JSON);
    let value = error.to_value();
    let (bytes, media) = match encode_value(output, &value) {
        Ok(bytes) => (bytes, output.media),
        Err(_) => (Bytes::from(codec::json::encode(&value)), Media::Json),
    };
    let mut pieces = Pieces::default();
    pieces.push(bytes);
    let mut response = finish(headers, error.code, media, pieces);
    let retry = error.details.as_ref().and_then(|d| d["retryAfterSeconds"].as_u64()).filter(|s| *s > 0);
    if let Some(seconds) = retry {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// 500 in upstream's plain text: without a record there is no request.
pub fn unaudited(uri: &http::Uri) -> Response<Body> {
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let why = format!("Internal Server Error: {path:?}: failed to store audit event\n");
    text(500, "text/plain; charset=utf-8", why)
}

/// A text answer of the non-resource paths.
pub fn text(code: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(orlop_client::transport::full(body));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
