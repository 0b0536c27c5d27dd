//! `pods/log`: the kubelet's log of a container, as plain text or over a WebSocket
//! (`pkg/registry/core/pod/rest/log.go`).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use orlop_api::field::{ErrorList, Path};
use orlop_api::meta;
use orlop_api::status::StatusError;
use orlop_client::streams::{logs, upgrade};
use orlop_client::transport::{Body, empty};
use serde_json::json;

use super::Connections;
use super::kubelet::{container, encode_query, node_of};
use crate::Server;
use crate::call::Call;
use crate::extend::Connector;
use crate::request::RequestInfo;

pub(super) struct Log(pub Arc<Connections>);

/// Longest error text of a kubelet that is read.
const MAX_ERROR_BYTES: usize = 50_000;

impl Connector for Log {
    fn serve(
        &self,
        _server: &Arc<Server>,
        call: Call,
        _body: Body,
    ) -> BoxFuture<'static, Result<Response<Body>, StatusError>> {
        let connections = self.0.clone();
        Box::pin(async move {
            let log = open(&connections, &call.info).await?;
            if upgrade::requested(&call.head.headers) == Some(upgrade::Protocol::WebSocket) {
                let mut request = Request::from_parts(call.head, ());
                return Ok(logs::serve(&mut request, log.unwrap_or_else(empty)).unwrap_or_else(|refusal| *refusal));
            }
            let mut response = Response::new(empty());
            match log {
                Some(body) => {
                    *response.body_mut() = body;
                    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
                }
                None => *response.status_mut() = StatusCode::NO_CONTENT,
            }
            Ok(response)
        })
    }
}

/// The log, streaming; `None` for a pod that no node has.
async fn open(connections: &Connections, info: &RequestInfo) -> Result<Option<Body>, StatusError> {
    let query = options(info)?;
    let pod = connections.get("pods", &info.namespace, &info.name)?;
    let container = container(&pod, info.query("container").unwrap_or_default())?;
    let Some(node) = node_of(&pod) else { return Ok(None) };
    let target = connections.kubelet_target(node)?;
    let mut path = format!("/containerLogs/{}/{}/{container}", meta::namespace(&pod), meta::name(&pod));
    if !query.is_empty() {
        path = format!("{path}?{query}");
    }
    let request = get(&path, &target.to_string()).map_err(|error| failed(error.to_string()))?;
    let unchecked = info.query_flag("insecureSkipTLSVerifyBackend");
    let dialer = if unchecked { &connections.unchecked_kubelet } else { &connections.kubelet };
    let response = dialer.send(&target, request).await;
    let response = response.map_err(|error| failed(format!("Get \"https://{target}{path}\": {error}")))?;
    if (200..=206).contains(&response.status().as_u16()) {
        return Ok(Some(response.into_body()));
    }
    Err(refusal(response, &info.name).await)
}

fn get(path: &str, host: &str) -> Result<Request<Body>, http::Error> {
    Request::get(path).header(http::header::HOST, host).body(empty())
}

fn failed(text: String) -> StatusError {
    StatusError::new(500, "", text)
}

/// A kubelet's error as the API tells it.
async fn refusal(response: Response<Body>, pod: &str) -> StatusError {
    let code = response.status().as_u16();
    let text = upgrade::read_prefix(response.into_body(), MAX_ERROR_BYTES).await;
    let text = String::from_utf8_lossy(&text).into_owned();
    match code {
        500 => StatusError::internal(text),
        400 => StatusError::bad_request(text),
        404 => {
            let message = format!("the server could not find the requested resource ( pods/log {pod})");
            let details = json!({ "name": pod, "kind": "pods/log" });
            StatusError::new(404, "NotFound", message).with_details(details)
        }
        code => {
            let message = format!("an error on the server ({text:?}) has prevented the request from succeeding");
            StatusError::new(code, "", format!("{message} ( pods/log {pod})"))
        }
    }
}

/// The kubelet's query for the caller's PodLogOptions.
fn options(info: &RequestInfo) -> Result<String, StatusError> {
    let mut errors = ErrorList::default();
    let mut query: Vec<(&str, String)> = Vec::new();
    for flag in ["follow", "previous", "timestamps"] {
        if info.query_flag(flag) {
            query.push((flag, "true".into()));
        }
    }
    for (field, least, why) in [
        ("sinceSeconds", 1, "must be greater than 0"),
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
    ] {
        let Some(text) = info.query(field).filter(|text| !text.is_empty()) else { continue };
        let Ok(number) = text.parse::<i64>() else {
            let why = format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
            return Err(StatusError::bad_request(why));
        };
        if number < least {
            errors.invalid(&Path::new(field), number, why);
        }
        query.push((field, number.to_string()));
    }
    if let Some(text) = info.query("sinceTime").filter(|text| !text.is_empty()) {
        let Ok(time) = text.parse::<jiff::Timestamp>() else {
            let why = format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse");
            return Err(StatusError::bad_request(why));
        };
        query.push(("sinceTime", orlop_base::clock::format_seconds(time.as_second())));
    }
    let has = |field: &str| query.iter().any(|(key, _)| *key == field);
    if has("sinceSeconds") && has("sinceTime") {
        errors.forbidden(&Path::default(), "at most one of `sinceTime` or `sinceSeconds` may be specified");
    }
    if info.query("stream").is_some() {
        errors.forbidden(&Path::new("stream"), "may not be specified");
    }
    if errors.is_empty() {
        return Ok(encode_query(&query));
    }
    Err(StatusError::invalid("", "PodLogOptions", &info.name, &errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked_and_handed_on() {
        for (query, expected) in [
            ("", ""),
            ("container=c&follow=true&tailLines=10", "follow=true&tailLines=10"),
            ("previous=1&timestamps=true&limitBytes=5&follow=false", "limitBytes=5&previous=true&timestamps=true"),
            ("sinceTime=2026-01-02T03:04:05.678Z", "sinceTime=2026-01-02T03%3A04%3A05Z"),
            (
                "tailLines=-1",
                "422 PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                "limitBytes=0",
                "422 PodLogOptions \"p\" is invalid: limitBytes: Invalid value: 0: must be greater than 0",
            ),
            (
                "sinceSeconds=5&sinceTime=2026-01-02T03:04:05Z",
                "422 PodLogOptions \"p\" is invalid: <nil>: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
            ),
            ("tailLines=many", "400 strconv.ParseInt: parsing \"many\": invalid syntax"),
        ] {
            let info = RequestInfo::parse(&http::Method::GET, &format!("/api/v1/namespaces/a/pods/p/log?{query}"));
            let outcome = options(&info).unwrap_or_else(|error| format!("{} {}", error.code, error.message));
            assert_eq!(outcome, expected, "{query}");
        }
    }
}
