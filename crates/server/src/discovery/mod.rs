//! What the server can do: discovery documents, OpenAPI, version, the list of paths
//! (`k8s.io/apiserver/pkg/endpoints/discovery`, `k8s.io/kube-openapi/pkg/handler3`).

mod aggregated;
mod document;
mod groups;
mod legacy;
mod merge;
mod openapi;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::header::ACCEPT;
use http::request::Parts;
use http::{Method, Response};
use orlop_api::Value;
use orlop_api::codec::{cbor, json};
use orlop_api::status::StatusError;
use orlop_client::transport::Body;
use serde_json::json;

use crate::Server;
use crate::aggregation::Remotes;
use crate::pipeline::route;
use crate::request::RequestInfo;
use crate::resource::Resources;
use crate::wire::negotiate::{self, Media, Offer};
use crate::wire::pieces::Pieces;
use crate::wire::respond;
pub use aggregated::CONTENT_TYPE as AGGREGATED;
use aggregated::Form;
use document::Document;

/// What the roots of discovery can be had as.
const DOCUMENT_MEDIA: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Documents made from what is served, built when first asked for and again when that changes.
#[derive(Default)]
pub struct Documents(Mutex<Option<Arc<Set>>>);

struct Set {
    resources: Arc<Resources>,
    remotes: Arc<Remotes>,
    /// Of the core group, of all others.
    aggregated: [OnceLock<Document>; 2],
    aggregated_cbor: [OnceLock<Document>; 2],
    openapi_v2: OnceLock<Document>,
    /// The same in protobuf.
    openapi_v2_protobuf: OnceLock<Document>,
    openapi_v3: OnceLock<Arc<openapi::V3>>,
    /// What this set's documents may be taken over from.
    openapi_v3_before: Option<Arc<openapi::V3>>,
}

impl Set {
    fn openapi_v3(&self) -> &openapi::V3 {
        self.openapi_v3.get_or_init(|| Arc::new(openapi::V3::new(self, self.openapi_v3_before.as_deref())))
    }
}

impl Documents {
    fn of(&self, resources: Arc<Resources>, remotes: Arc<Remotes>) -> Arc<Set> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_current =
            |set: &&Arc<Set>| Arc::ptr_eq(&set.resources, &resources) && Arc::ptr_eq(&set.remotes, &remotes);
        if let Some(set) = held.as_ref().filter(is_current) {
            return set.clone();
        }
        let before = held.as_ref();
        let openapi_v3_before = before.and_then(|set| set.openapi_v3.get().or(set.openapi_v3_before.as_ref())).cloned();
        let set = Arc::new(Set {
            resources,
            remotes,
            aggregated: Default::default(),
            aggregated_cbor: Default::default(),
            openapi_v2: OnceLock::new(),
            openapi_v2_protobuf: OnceLock::new(),
            openapi_v3: OnceLock::new(),
            openapi_v3_before,
        });
        *held = Some(set.clone());
        set
    }
}

/// Answers every path that is no resource, health or metrics.
pub fn serve(server: &Server, head: &Parts, info: &RequestInfo) -> Result<Response<Body>, StatusError> {
    let set = server.documents.of(server.resources(), server.aggregation.remotes());
    let parts: Vec<&str> = info.path.trim_matches('/').split('/').collect();
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    match parts[..] {
        ["version" | "api"] if !is_read => Err(route::method_not_allowed()),
        ["api", version] if !is_read && set.resources.has_group_version("", version) => {
            Err(route::method_not_allowed())
        }
        ["apis", group, version] if !is_read && set.resources.has_group_version(group, version) => {
            Err(route::method_not_allowed())
        }
        [""] => Ok(document(head, Media::Json, &json!({ "paths": paths(&set.resources, &set.remotes) }))),
        ["version"] => Ok(document(head, Media::Json, &version())),
        ["api" | "apis"] => roots(server, &set, head, info, parts[0]),
        ["api", version] if set.resources.has_group_version("", version) => {
            Ok(document(head, wanted_media(head, info), &legacy::resource_list(&set.resources, "", version)))
        }
        ["apis", group] => {
            let known = legacy::group(&set.resources, &set.remotes, group);
            Ok(known.map_or_else(no_page, |group| document(head, wanted_media(head, info), &group)))
        }
        ["apis", group, version] if set.resources.has_group_version(group, version) => {
            Ok(document(head, wanted_media(head, info), &legacy::resource_list(&set.resources, group, version)))
        }
        ["openapi", "v2"] => openapi::serve_v2(&set, head),
        ["openapi", "v3", ..] => openapi::serve_v3(&set, head, info, &parts[2..].join("/")),
        ["apis", group, ..] if legacy::group(&set.resources, &set.remotes, group).is_some() => {
            Err(StatusError::path_not_found())
        }
        ["api", ..] => Err(StatusError::path_not_found()),
        _ => Ok(no_page()),
    }
}

/// Where no API is, the answer is no `Status` either.
pub fn no_page() -> Response<Body> {
    respond::text(404, "text/plain; charset=utf-8", "404 page not found\n")
}

/// `/api` and `/apis`: aggregated for clients that ask for it, else the old short forms.
fn roots(
    server: &Server,
    set: &Set,
    head: &Parts,
    info: &RequestInfo,
    root: &str,
) -> Result<Response<Body>, StatusError> {
    let accept = head.headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match aggregated::wanted(accept, info.cbor) {
        Some((Form::Aggregated, media)) => {
            let which = usize::from(root == "apis");
            let document = set.aggregated[which]
                .get_or_init(|| Document::new(&aggregated::list(&set.resources, &set.remotes, root == "api")));
            if media == Media::Cbor {
                let written = set.aggregated_cbor[which].get_or_init(|| document.rewritten(cbor::encode));
                return Ok(written.serve(head, aggregated::CBOR_CONTENT_TYPE));
            }
            Ok(document.serve(head, aggregated::CONTENT_TYPE))
        }
        Some((Form::Legacy, media)) if root == "api" => {
            let address = format!("{}:{}", server.advertise_address, server.secure_port);
            Ok(document(head, media, &legacy::api_versions(&address)))
        }
        Some((Form::Legacy, media)) => Ok(document(head, media, &legacy::group_list(&set.resources, &set.remotes))),
        None if info.cbor => Err(StatusError::not_acceptable(&format!("{DOCUMENT_MEDIA}, {}", Media::Cbor.name()))),
        None => Err(StatusError::not_acceptable(DOCUMENT_MEDIA)),
    }
}

/// CBOR for who would rather have that, else JSON.
fn wanted_media(head: &Parts, info: &RequestInfo) -> Media {
    let offer = Offer { protobuf: false, cbor: info.cbor, shapes: false, watch: false };
    let wanted = negotiate::output(&head.headers, info, offer).map(|output| output.media);
    wanted.ok().filter(|media| *media == Media::Cbor).unwrap_or(Media::Json)
}

fn document(head: &Parts, media: Media, value: &Value) -> Response<Body> {
    let mut pieces = Pieces::default();
    pieces.push(if media == Media::Cbor { cbor::encode(value) } else { json::encode(value) });
    respond::finish(&head.headers, 200, media, pieces)
}

/// `/`: every path that answers something.
pub(crate) fn paths(resources: &Resources, remotes: &Remotes) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/",
        "/flagz",
        "/healthz",
        "/livez",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/readyz",
        "/statusz",
        "/version",
    ]
    .map(str::to_owned)
    .into();
    paths.extend(
        ["ping", "log", "etcd"].iter().flat_map(|c| ["healthz", "livez", "readyz"].map(|p| format!("/{p}/{c}"))),
    );
    paths.extend(["etcd-readiness", "shutdown"].map(|check| format!("/readyz/{check}")));
    for group in groups::all(resources, remotes).iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|version| format!("/apis/{}/{}", group.name, version.name)));
    }
    paths.sort();
    paths.dedup();
    paths
}

pub(crate) fn version() -> Value {
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
