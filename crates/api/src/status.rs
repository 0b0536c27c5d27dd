//! `metav1.Status` as an error: what every failed API call carries.
//!
//! Codes, reasons and message texts are those of `k8s.io/apimachinery/pkg/api/errors`.

use serde_json::{Map, Value, json};

use crate::field::ErrorList;

/// An API failure, ready to become a `Status` body with an HTTP code.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct StatusError {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason (`NotFound`, `Conflict`, ...); empty when unknown.
    pub reason: String,
    /// Human-readable message.
    pub message: String,
    /// `details` of the Status: kind, name, group, causes, retryAfterSeconds.
    pub details: Option<Box<Value>>,
    /// `metadata.continue` for an expired continue token (410), else empty.
    pub continue_token: String,
}

/// Group and resource as error texts print them: `deployments.apps`, `pods`.
#[derive(Clone, Copy, Debug)]
pub struct GroupResource<'a> {
    pub group: &'a str,
    pub resource: &'a str,
}

impl std::fmt::Display for GroupResource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.group.is_empty() { f.write_str(self.resource) } else { write!(f, "{}.{}", self.resource, self.group) }
    }
}

impl StatusError {
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), message: message.into(), details: None, continue_token: String::new() }
    }

    fn about(mut self, gr: GroupResource<'_>, name: &str) -> Self {
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".into(), name.into());
        }
        if !gr.group.is_empty() {
            details.insert("group".into(), gr.group.into());
        }
        if !gr.resource.is_empty() {
            details.insert("kind".into(), gr.resource.into());
        }
        self.details = Some(Box::new(Value::Object(details)));
        self
    }

    /// 404, `pods "x" not found`.
    pub fn not_found(gr: GroupResource<'_>, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{gr} \"{name}\" not found")).about(gr, name)
    }

    /// 404 for a path that serves nothing.
    pub fn path_not_found() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with_details(json!({}))
    }

    /// 409, `pods "x" already exists`.
    pub fn already_exists(gr: GroupResource<'_>, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{gr} \"{name}\" already exists")).about(gr, name)
    }

    /// 409, `Operation cannot be fulfilled on pods "x": <why>`.
    pub fn conflict(gr: GroupResource<'_>, name: &str, why: &str) -> Self {
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {gr} \"{name}\": {why}")).about(gr, name)
    }

    /// 422 from validation; `kind` and `group` are of the kind, not the resource.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &ErrorList) -> Self {
        let gk = GroupResource { group, resource: kind };
        let mut status =
            Self::new(422, "Invalid", format!("{gk} \"{name}\" is invalid: {}", errors.aggregate())).about(gk, name);
        if let Some(details) = status.details.as_deref_mut().and_then(Value::as_object_mut) {
            details.insert("causes".into(), errors.causes());
        }
        status
    }

    /// 403 by the authorizer.
    pub fn forbidden(gr: GroupResource<'_>, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{gr} is forbidden: {why}")
        } else {
            format!("{gr} \"{name}\" is forbidden: {why}")
        };
        Self::new(403, "Forbidden", message).about(gr, name)
    }

    /// 400, the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 405.
    pub fn method_not_allowed(gr: GroupResource<'_>, action: &str) -> Self {
        Self::new(405, "MethodNotAllowed", format!("{action} is not supported on resources of kind \"{gr}\""))
            .about(gr, "")
    }

    /// 406: none of the accepted media types can be produced.
    pub fn not_acceptable(accepted: &str) -> Self {
        Self::new(406, "NotAcceptable", format!("only the following media types are accepted: {accepted}"))
    }

    /// 415: the body's media type is not understood.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let text =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(415, "UnsupportedMediaType", text)
    }

    /// 410: the revision asked for is compacted away.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// 429 with a retry hint in seconds.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(429, "TooManyRequests", message).with_details(json!({ "retryAfterSeconds": retry_after_seconds }))
    }

    /// 500 with upstream's prefix.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {cause}"))
            .with_details(json!({ "causes": [{ "message": cause.to_string() }] }))
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// 504 with a retry hint.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(504, "Timeout", message)
    }

    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// The `Status` object as it goes on the wire.
    pub fn to_value(&self) -> Value {
        let mut metadata = Map::new();
        if !self.continue_token.is_empty() {
            metadata.insert("continue".into(), self.continue_token.clone().into());
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata,
            "status": "Failure", "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.clone().into();
        }
        if let Some(details) = &self.details {
            status["details"] = (**details).clone();
        }
        status
    }

    /// Reads a `Status` body; anything else becomes an unknown failure of that code.
    pub fn from_body(code: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(value) if value["kind"] == "Status" => {
                let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
                Self {
                    code,
                    reason: text("reason"),
                    message: text("message"),
                    details: value.get("details").cloned().map(Box::new),
                    continue_token: value["metadata"]["continue"].as_str().unwrap_or_default().to_owned(),
                }
            }
            _ => Self::new(code, "", String::from_utf8_lossy(body).trim().to_owned()),
        }
    }

    pub fn is_not_found(&self) -> bool {
        self.reason == "NotFound" || self.code == 404
    }

    pub fn is_conflict(&self) -> bool {
        self.reason == "Conflict"
    }

    pub fn is_already_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    /// A watch or list must start over: 410 `Expired` or `Gone`.
    pub fn is_expired(&self) -> bool {
        self.code == 410
    }
}
