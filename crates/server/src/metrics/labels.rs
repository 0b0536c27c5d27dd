//! What requests and objects are counted by.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use prometheus_client::encoding::EncodeLabelSet;

use crate::request::RequestInfo;
use crate::resource::Resource;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    pub scope: &'static str,
    component: &'static str,
}

/// Upstream's verbs are those of HTTP where there is one.
fn reported_verb(info: &RequestInfo, headers: &HeaderMap) -> String {
    let applies = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/apply-patch+");
    match &*info.verb {
        verb if !info.is_resource && verb != "get" => "other".to_owned(),
        _ if matches!(&*info.subresource, "attach" | "exec" | "portforward" | "proxy") => "CONNECT".to_owned(),
        "create" => "POST".to_owned(),
        "update" => "PUT".to_owned(),
        "patch" if headers.get(CONTENT_TYPE).is_some_and(applies) => "APPLY".to_owned(),
        verb => verb.to_uppercase(),
    }
}

impl RequestLabels {
    pub fn of(info: &RequestInfo, headers: &HeaderMap) -> Self {
        let scope = match (info.is_resource, info.name.is_empty(), info.namespace.is_empty()) {
            (false, ..) => "",
            _ if info.verb == "create" => "resource",
            (_, false, _) => "resource",
            (_, _, false) => "namespace",
            _ => "cluster",
        };
        Self {
            verb: reported_verb(info, headers),
            group: info.api_group.clone(),
            version: info.api_version.clone(),
            resource: info.resource.clone(),
            subresource: if info.is_resource { info.subresource.clone() } else { known_path(&info.path).to_owned() },
            scope,
            component: "apiserver",
        }
    }
}

/// Paths outside the API come from anybody: only known ones become label values.
fn known_path(path: &str) -> &str {
    let known =
        ["/healthz", "/livez", "/readyz", "/metrics", "/version", "/openapi/v2", "/openapi/v3", "/api", "/apis"];
    let under = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    known.into_iter().find(|root| under(root)).unwrap_or_default()
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabels {
    verb: String,
    dry_run: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    component: &'static str,
    code: u16,
}

impl CodeLabels {
    pub fn of(request: RequestLabels, info: &RequestInfo, code: u16) -> Self {
        let RequestLabels { verb, group, version, resource, subresource, scope, component } = request;
        // Anything else was refused; it must not become a label.
        let dry_run = if info.query("dryRun") == Some("All") { "All".to_owned() } else { String::new() };
        Self { verb, dry_run, group, version, resource, subresource, scope, component, code }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LaneLabels {
    pub request_kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ObjectLabels {
    group: String,
    resource: String,
}

impl ObjectLabels {
    pub fn of(resource: &Resource) -> Self {
        Self { group: resource.info().group.to_string(), resource: resource.info().plural.to_string() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StorageLabels {
    resource: String,
}

impl StorageLabels {
    pub fn of(resource: &Resource) -> Self {
        Self { resource: resource.group_resource().to_string() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VersionLabels {
    group: String,
    version: String,
    resource: String,
}

impl VersionLabels {
    pub fn of(resource: &Resource) -> Self {
        Self {
            group: resource.info().group.to_string(),
            version: resource.version().to_owned(),
            resource: resource.info().plural.to_string(),
        }
    }
}
