//! `/openapi/v2`, `/openapi/v3` and its documents per group and version.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use http::Response;
use http::header::{ACCEPT, CACHE_CONTROL, EXPIRES, HeaderValue, LOCATION};
use http::request::Parts;
use orlop_api::kind::Kind;
use orlop_api::openapi::{gnostic, roots, v2, v3};
use orlop_api::status::StatusError;
use orlop_client::transport::{self, Body};

use super::{Document, Set, merge};
use crate::aggregation::Remotes;
use crate::request::RequestInfo;
use crate::resource::Resource;

/// Upstream writes the index as it is, and lets Go guess.
const INDEX_MEDIA: &str = "text/plain; charset=utf-8";

/// Documents by path (`api/v1`, `apis/apps/v1`) and the index over them.
pub struct V3 {
    group_versions: BTreeMap<String, GroupVersion>,
    /// Places above groups and versions.
    roots: BTreeMap<String, Arc<OnceLock<Document>>>,
    index: OnceLock<Document>,
}

/// Of what its document is made.
#[derive(Default)]
struct GroupVersion {
    resources: Vec<Resource>,
    document: Arc<OnceLock<Document>>,
}

impl V3 {
    /// Documents that `before` had of the same resources are not made again.
    pub fn new(set: &Set, before: Option<&Self>) -> Self {
        let mut group_versions: BTreeMap<String, GroupVersion> = BTreeMap::new();
        for resource in set.resources.iter() {
            let path = v3::path_of(resource.api_version());
            group_versions.entry(path).or_default().resources.push(resource.clone());
        }
        for (path, now) in &mut group_versions {
            let known = before.and_then(|before| before.group_versions.get(path));
            if let Some(known) = known.filter(|known| known.resources == now.resources) {
                now.document = known.document.clone();
            }
        }
        let groups = set.resources.iter().map(|resource| &*resource.info().group).filter(|group| !group.is_empty());
        let groups = groups.map(|group| format!("apis/{group}"));
        let paths = roots::FIXED.into_iter().map(str::to_owned).chain(groups);
        let known = |path: &str| before.and_then(|before| before.roots.get(path)).cloned().unwrap_or_default();
        let roots = paths.map(|path| {
            let document = known(&path);
            (path, document)
        });
        Self { group_versions, roots: roots.collect(), index: OnceLock::new() }
    }

    fn document(&self, path: &str) -> Option<&Document> {
        if let Some(document) = self.roots.get(path) {
            return Some(document.get_or_init(|| Document::new(&v3::root_document(path).unwrap_or_default())));
        }
        let GroupVersion { resources, document } = self.group_versions.get(path)?;
        Some(document.get_or_init(|| {
            let group_version = resources.first().map(Resource::api_version).unwrap_or_default();
            let kinds: Vec<&dyn Kind> = resources.iter().map(Resource::kind).collect();
            Document::new(&v3::document(group_version, &kinds))
        }))
    }

    /// With the documents of other servers, which they serve themselves.
    fn index(&self, remotes: &Remotes) -> &Document {
        self.index.get_or_init(|| {
            let paths = self.group_versions.keys().chain(self.roots.keys());
            let documents = paths.filter_map(|path| Some((&**path, self.document(path)?.etag())));
            let mut index = v3::index(documents);
            for remote in remotes.values() {
                let path = v3::path_of(&format!("{}/{}", remote.group, remote.version));
                if let Some(place) = remote.published.openapi_v3(&path) {
                    index["paths"][path] = place;
                }
            }
            Document::new(&index)
        })
    }
}

pub fn serve_v2(set: &Set, head: &Parts) -> Result<Response<Body>, StatusError> {
    let accept = head.headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let protobuf = wants_protobuf(accept);
    if !protobuf && !accepts_json(accept) {
        return Err(StatusError::not_acceptable("application/json"));
    }
    let document = set.openapi_v2.get_or_init(|| {
        let kinds: Vec<(&dyn Kind, &str)> = set.resources.iter().map(|r| (r.kind(), r.version())).collect();
        let mut whole = v2::document(&kinds);
        for remote in set.remotes.values() {
            if let Some(theirs) = remote.published.openapi_v2() {
                merge::add(&mut whole, &theirs, &format!("/apis/{}/{}", remote.group, remote.version));
            }
        }
        Document::new(&whole)
    });
    if protobuf {
        let written = set.openapi_v2_protobuf.get_or_init(|| document.rewritten(gnostic::encode));
        return Ok(written.serve(head, gnostic::CONTENT_TYPES[1]));
    }
    Ok(document.serve(head, "application/json"))
}

/// Whether protobuf stands before JSON.
fn wants_protobuf(accept: &str) -> bool {
    let mut medias = accept.split(',').map(|clause| clause.split(';').next().unwrap_or_default().trim());
    let is_protobuf = |media: &&str| gnostic::CONTENT_TYPES.contains(media);
    medias.find(|media| is_protobuf(media) || !media.is_empty() && accepts_json(media)).is_some_and(|m| is_protobuf(&m))
}

/// `path` is what follows `/openapi/v3/`.
pub fn serve_v3(set: &Set, head: &Parts, info: &RequestInfo, path: &str) -> Result<Response<Body>, StatusError> {
    let accept = head.headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !accepts_json(accept) {
        return Err(StatusError::not_acceptable("application/json"));
    }
    let documents = set.openapi_v3();
    if path.is_empty() {
        return Ok(documents.index(&set.remotes).serve(head, INDEX_MEDIA));
    }
    let Some(document) = documents.document(path) else {
        let mut nothing = Response::new(transport::empty());
        *nothing.status_mut() = http::StatusCode::NOT_FOUND;
        return Ok(nothing);
    };
    match info.query("hash") {
        // Somebody holds an old index: the current document stands elsewhere.
        Some(hash) if !hash.is_empty() && hash != document.etag() => Ok(redirect(path, document.etag())),
        Some(hash) if !hash.is_empty() => {
            let mut response = document.serve(head, "application/json");
            let headers = response.headers_mut();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
            if let Ok(expires) = HeaderValue::from_str(&in_one_year()) {
                headers.insert(EXPIRES, expires);
            }
            Ok(response)
        }
        _ => Ok(document.serve(head, "application/json")),
    }
}

fn accepts_json(accept: &str) -> bool {
    accept.is_empty()
        || accept.split(',').any(|clause| {
            let media = clause.split(';').next().unwrap_or_default().trim();
            matches!(media, "application/json" | "application/*" | "*/*")
        })
}

fn redirect(path: &str, etag: &str) -> Response<Body> {
    let mut response = Response::new(transport::empty());
    *response.status_mut() = http::StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(&format!("/openapi/v3/{path}?hash={etag}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// RFC 7231's date, a year from now.
fn in_one_year() -> String {
    const YEAR_SECONDS: i64 = 365 * 24 * 3600;
    let then = jiff::Timestamp::from_second(orlop_base::clock::unix_seconds() + YEAR_SECONDS).unwrap_or_default();
    then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::Documents;
    use super::*;
    use crate::resource::Resources;

    /// With thousands of definitions, one more must not have every document made again.
    #[test]
    fn documents_outlive_what_changes_elsewhere() {
        let (documents, remotes) = (Documents::default(), Arc::new(Remotes::new()));
        let before = documents.of(Arc::new(Resources::builtin()), remotes.clone());
        before.openapi_v3();
        let mut resources = Resources::clone(&before.resources);
        let gone = resources.find("apps", "v1", "deployments").cloned().expect("it is built in");
        resources.remove(&gone);
        let after = documents.of(Arc::new(resources), remotes);
        let document = |set: &Set, path: &str| set.openapi_v3().group_versions[path].document.clone();
        assert!(Arc::ptr_eq(&document(&before, "api/v1"), &document(&after, "api/v1")));
        assert!(!Arc::ptr_eq(&document(&before, "apis/apps/v1"), &document(&after, "apis/apps/v1")));
    }
}
