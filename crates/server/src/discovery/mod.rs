//! What the server can do: discovery documents, OpenAPI, version, the list of paths
//! (`k8s.io/apiserver/pkg/endpoints/discovery`, `k8s.io/kube-openapi/pkg/handler3`).

mod aggregated;
mod document;
mod legacy;
mod openapi;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::Response;
use http::header::ACCEPT;
use http::request::Parts;
use orlop_api::Value;
use orlop_api::status::StatusError;
use orlop_client::transport::Body;
use serde_json::json;

use crate::Server;
use crate::request::RequestInfo;
use crate::resource::{Resource, Resources};
use crate::wire::respond;
use aggregated::Form;
use document::Document;

/// What the roots of discovery can be had as.
const DOCUMENT_MEDIA: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Documents made from what is served, built when first asked for and again when that changes.
#[derive(Default)]
pub struct Documents(Mutex<Option<Arc<Set>>>);

struct Set {
    resources: Arc<Resources>,
    /// Of the core group, of all others.
    aggregated: [OnceLock<Document>; 2],
    openapi_v2: OnceLock<Document>,
    openapi_v3: OnceLock<openapi::V3>,
}

impl Documents {
    fn of(&self, resources: Arc<Resources>) -> Arc<Set> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = held.as_ref().filter(|set| Arc::ptr_eq(&set.resources, &resources)) {
            return set.clone();
        }
        let set = Arc::new(Set {
            resources,
            aggregated: Default::default(),
            openapi_v2: OnceLock::new(),
            openapi_v3: OnceLock::new(),
        });
        *held = Some(set.clone());
        set
    }
}

/// Answers GET on every path that is no resource, health or metrics.
pub fn serve(server: &Server, head: &Parts, info: &RequestInfo) -> Result<Response<Body>, StatusError> {
    let set = server.documents.of(server.resources());
    let parts: Vec<&str> = info.path.trim_matches('/').split('/').collect();
    match parts[..] {
        [""] => Ok(json_document(head, &paths(&set.resources))),
        ["version"] => Ok(json_document(head, &version())),
        ["api" | "apis"] => roots(server, &set, head, parts[0]),
        ["api", version] if set.resources.has_group_version("", version) => {
            Ok(json_document(head, &legacy::resource_list(&set.resources, "", version)))
        }
        ["apis", group] => legacy::group(&set.resources, group)
            .map(|group| json_document(head, &group))
            .ok_or_else(StatusError::path_not_found),
        ["apis", group, version] if set.resources.has_group_version(group, version) => {
            Ok(json_document(head, &legacy::resource_list(&set.resources, group, version)))
        }
        ["openapi", "v2"] => openapi::serve_v2(&set, head),
        ["openapi", "v3", ..] => openapi::serve_v3(&set, head, info, &parts[2..].join("/")),
        _ => Err(StatusError::path_not_found()),
    }
}

/// `/api` and `/apis`: aggregated for clients that ask for it, else the old short forms.
fn roots(server: &Server, set: &Set, head: &Parts, root: &str) -> Result<Response<Body>, StatusError> {
    let accept = head.headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match aggregated::wanted(accept) {
        Some(Form::Aggregated) => {
            let document = set.aggregated[usize::from(root == "apis")]
                .get_or_init(|| Document::new(&aggregated::list(&set.resources, root == "api")));
            Ok(document.serve(head, aggregated::CONTENT_TYPE))
        }
        Some(Form::Legacy) if root == "api" => {
            let address = format!("{}:{}", server.advertise_address, server.secure_port);
            Ok(json_document(head, &legacy::api_versions(&address)))
        }
        Some(Form::Legacy) => Ok(json_document(head, &legacy::group_list(&set.resources))),
        None => Err(StatusError::not_acceptable(DOCUMENT_MEDIA)),
    }
}

fn json_document(head: &Parts, value: &Value) -> Response<Body> {
    let mut pieces = crate::wire::pieces::Pieces::default();
    pieces.push(orlop_api::codec::json::encode(value));
    respond::finish(&head.headers, 200, crate::wire::negotiate::Media::Json, pieces)
}

/// `/`: every path that answers something.
fn paths(resources: &Resources) -> Value {
    let mut paths: Vec<String> = [
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .into();
    paths.extend(
        ["ping", "log", "etcd"].iter().flat_map(|c| ["healthz", "livez", "readyz"].map(|p| format!("/{p}/{c}"))),
    );
    for resource in resources.iter().filter(|r| !r.info().group.is_empty()) {
        paths.push(format!("/apis/{}", resource.info().group));
        paths.push(format!("/apis/{}", resource.api_version()));
    }
    paths.sort();
    paths.dedup();
    json!({ "paths": paths })
}

fn version() -> Value {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "major": "1", "minor": "37", "emulationMajor": "1", "emulationMinor": "37",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "36",
        "gitVersion": "v1.37.0", "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": format!("linux/{arch}"),
    })
}

/// Groups in order, each with its resources; the core group first.
fn groups(resources: &Resources) -> Vec<(String, Vec<Resource>)> {
    let mut groups: Vec<(String, Vec<Resource>)> = Vec::new();
    // The list of kinds has groups in discovery's order; what is added at run time follows by name.
    let builtin = orlop_api::kinds::all().iter().map(|kind| kind.info().group.to_string());
    let others = resources.iter().map(|r| r.info().group.to_string());
    for group in builtin.chain(others) {
        if groups.iter().any(|(name, _)| *name == group) {
            continue;
        }
        let members: Vec<Resource> = resources.iter().filter(|r| r.info().group == group).cloned().collect();
        if !members.is_empty() {
            groups.push((group, members));
        }
    }
    groups
}

/// A group's versions, preferred first.
fn versions(members: &[Resource]) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for version in members.iter().flat_map(|r| r.info().versions.iter()) {
        if !versions.iter().any(|v| *v == **version) {
            versions.push(version.to_string());
        }
    }
    // Upstream ranks by stability, then number: v2, v1, v1beta1.
    versions.sort_by_key(|version| std::cmp::Reverse(rank(version)));
    versions
}

/// Stable before beta before alpha; higher before lower.
fn rank(version: &str) -> (u8, u32, u32) {
    let digits = |text: &str| text.parse().unwrap_or(0);
    let rest = version.strip_prefix('v').unwrap_or(version);
    for (mark, stability) in [("beta", 1), ("alpha", 0)] {
        if let Some((major, minor)) = rest.split_once(mark) {
            return (stability, digits(major), digits(minor));
        }
    }
    (2, digits(rest), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rank_by_stability() {
        let mut versions = vec!["v1alpha1", "v1", "v2beta1", "v2", "v1beta2"];
        versions.sort_by_key(|v| std::cmp::Reverse(rank(v)));
        assert_eq!(versions, ["v2", "v1", "v2beta1", "v1beta2", "v1alpha1"]);
    }
}
