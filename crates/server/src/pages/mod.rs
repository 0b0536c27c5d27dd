//! Pages about the process itself, for people, and as objects for who asks for these by name
//! (KEP-4827, KEP-4828).

mod flagz;
mod statusz;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, WARNING};
use http::request::Parts;
use http::{HeaderMap, Method, Response};
use orlop_api::Value;
use orlop_api::status::StatusError;
use orlop_client::transport::Body;
use serde_json::json;

use crate::Server;
use crate::discovery::no_page;
use crate::request::RequestInfo;
use crate::wire::negotiate::{Media, Output, clauses};
use crate::wire::respond;

const GROUP: &str = "config.k8s.io";
/// What this process calls itself on its pages, as upstream's API server does.
const COMPONENT: &str = "apiserver";
const TEXT: &str = "text/plain";
const MEDIA: &str = "application/json, application/yaml, text/plain";
const MEDIA_WITH_CBOR: &str = "application/json, application/yaml, text/plain, application/cbor";

/// What a page says.
struct Page {
    /// Its path, too, in lower case.
    kind: &'static str,
    /// Fields of the object beside its type and name.
    fields: Value,
    /// What a person reads below the heading.
    text: String,
}

/// How it is told.
#[derive(Debug, PartialEq, Eq)]
enum Form {
    Text,
    Object { media: Media, version: &'static str },
}

/// Answers `/flagz` and `/statusz`.
pub fn serve(server: &Server, head: &Parts, info: &RequestInfo) -> Result<Response<Body>, StatusError> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(crate::pipeline::route::method_not_allowed());
    }
    let page = match info.path.trim_end_matches('/') {
        "/flagz" => flagz::page(server),
        "/statusz" => statusz::page(server),
        _ => return Ok(no_page()),
    };
    match form(&head.headers, page.kind, info.cbor) {
        Some(Form::Text) => Ok(text(&page)),
        Some(Form::Object { media, version }) => object(&page, media, version),
        None => Err(StatusError::not_acceptable(if info.cbor { MEDIA_WITH_CBOR } else { MEDIA })),
    }
}

/// Objects only go to those who name kind, group and version; all others who take text get text.
fn form(headers: &HeaderMap, kind: &str, cbor: bool) -> Option<Form> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.trim().is_empty() {
        return Some(Form::Text);
    }
    clauses(accept).iter().find_map(|clause| {
        let named = [clause.param("as"), clause.param("g"), clause.param("v")];
        let version = match named {
            ["", "", ""] => return clause.covers(TEXT).then_some(Form::Text),
            [named, GROUP, "v1beta1"] if named == kind => "v1beta1",
            [named, GROUP, "v1alpha1"] if named == kind => "v1alpha1",
            _ => return None,
        };
        let mut medias = [Media::Json, Media::Yaml].into_iter().chain(cbor.then_some(Media::Cbor));
        let media = medias.find(|media| clause.covers(media.name()))?;
        Some(Form::Object { media, version })
    })
}

fn text(page: &Page) -> Response<Body> {
    let kind = page.kind.to_lowercase();
    let heading = format!("\n{COMPONENT} {kind}\nWarning: This endpoint is not meant to be machine parseable, has no ");
    let heading = heading + "formatting compatibility guarantees and is for debugging purposes only.\n";
    respond::text(200, "text/plain; charset=utf-8", heading + &page.text)
}

fn object(page: &Page, media: Media, version: &str) -> Result<Response<Body>, StatusError> {
    let mut object =
        json!({"kind": page.kind, "apiVersion": format!("{GROUP}/{version}"), "metadata": {"name": COMPONENT}});
    if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), &page.fields) {
        object.extend(fields.clone());
    }
    let body = respond::encode_value(Output { media, shape: None, pretty: false }, &object)?;
    let mut response = respond::text(200, "", body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media.name()));
    if version == "v1alpha1" {
        let kind = page.kind.to_lowercase();
        let text = format!("299 - \"This version of the {kind} endpoint is deprecated. Please use a newer version.\"");
        response.headers_mut().insert(WARNING, HeaderValue::try_from(text).map_err(StatusError::internal)?);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_with(accept: &'static str, cbor: bool) -> Option<Form> {
        form(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]), "Statusz", cbor)
    }

    fn asked(accept: &'static str) -> Option<Form> {
        asked_with(accept, false)
    }

    #[test]
    fn objects_must_be_asked_for_by_name() {
        let object = |media, version| Some(Form::Object { media, version });
        assert_eq!(asked(""), Some(Form::Text));
        assert_eq!(asked("*/*"), Some(Form::Text));
        assert_eq!(asked("application/json, text/*;q=0.5"), Some(Form::Text));
        assert_eq!(asked("application/json"), None);
        let json = "application/json;v=v1beta1;g=config.k8s.io;as=Statusz";
        assert_eq!(asked(json), object(Media::Json, "v1beta1"));
        let either = "text/plain;q=0.1,application/yaml;v=v1alpha1;g=config.k8s.io;as=Statusz";
        assert_eq!(asked(either), object(Media::Yaml, "v1alpha1"));
        assert_eq!(asked("application/json;v=v1beta1;g=config.k8s.io;as=Flagz"), None);
        assert_eq!(asked("application/json;v=v2;g=config.k8s.io;as=Statusz"), None);
        assert_eq!(asked("text/plain;v=v1beta1;g=config.k8s.io;as=Statusz"), None);
        let cbor = "application/cbor;v=v1beta1;g=config.k8s.io;as=Statusz";
        assert_eq!(asked(cbor), None);
        assert_eq!(asked_with(cbor, true), object(Media::Cbor, "v1beta1"));
        assert_eq!(asked_with("application/cbor", true), None);
    }
}
