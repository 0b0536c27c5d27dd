//! GET of one object (`k8s.io/apiserver/pkg/endpoints/handlers/get.go`).

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use orlop_api::status::StatusError;
use orlop_client::transport::Body;
use orlop_store::{Entry, Revision, Snapshot};
use serde_json::json;

use crate::Server;
use crate::call::Call;
use crate::observe::{in_store, step};
use crate::options;
use crate::resource::Resource;
use crate::server::store_failed;
use crate::trace;
use crate::wire::respond::Content;

/// How long a read waits for a revision that is not here yet (upstream's `blockTimeout`).
const FRESHNESS_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) async fn get(server: &Arc<Server>, call: &Call) -> Result<Response<Body>, StatusError> {
    let output = call.output(false)?;
    let entry = read(server, call).await?;
    call.respond(output, 200, Content::Entry(entry))
}

/// The object of the URL, at least as fresh as `resourceVersion` says.
pub(super) async fn read(server: &Server, call: &Call) -> Result<Arc<Entry>, StatusError> {
    let version = call.info.query("resourceVersion").unwrap_or_default();
    check_revision(version)?;
    let attributes = || {
        let key = call.resource.key(call.namespace(), &call.info.name).path();
        let text = |text: &str| trace::Value::Text(text.to_owned());
        vec![("key", text(&key)), ("resource-version", text(version))]
    };
    let reading = async {
        let snapshot = snapshot_not_older(server, &call.resource, version).await?;
        let found = snapshot.get(call.resource.storage_key(), call.namespace(), &call.info.name);
        server.present_one(&call.resource, found.cloned().ok_or_else(|| call.not_found())?).await
    };
    step("cacher.Get", attributes, reading).await
}

/// Refuses what is no revision, as upstream does where it asks its cache for one object or follows it.
pub(super) fn check_revision(version: &str) -> Result<(), StatusError> {
    options::parse_revision(version).map(drop).map_err(|_| {
        let why = format!("resourceVersion: Invalid value: {version:?}: {}", no_number(version));
        StatusError::new(500, "", why)
    })
}

/// The state now: consistent without a version, any for `0`, else not older than it.
pub(super) async fn snapshot_not_older(
    server: &Server,
    resource: &Resource,
    version: &str,
) -> Result<Snapshot, StatusError> {
    if version.is_empty() {
        let reading = server.store.consistent(resource.storage_key());
        return in_store("Get etcd3", resource, None, reading).await.map_err(store_failed);
    }
    wait_for(server, parse(version)?).await?;
    Ok(server.store.snapshot())
}

pub(super) fn parse(version: &str) -> Result<Revision, StatusError> {
    options::parse_revision(version).map_err(|_| {
        let why = no_number(version);
        StatusError::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {version:?}: {why}"
        ))
    })
}

/// What upstream says of a revision that is no number.
pub(super) fn no_number(version: &str) -> String {
    format!("strconv.ParseUint: parsing {version:?}: invalid syntax")
}

/// Waits a while for `revision`; 504 when it does not come. What somebody was told of comes, on however slow a disk.
pub(super) async fn wait_for(server: &Server, revision: Revision) -> Result<(), StatusError> {
    if revision <= server.store.revision() {
        return Ok(());
    }
    if revision <= server.store.promised() {
        return server.store.wait_for(revision).await.map_err(store_failed);
    }
    match tokio::time::timeout(FRESHNESS_TIMEOUT, server.store.wait_for(revision)).await {
        Ok(result) => result.map_err(store_failed),
        Err(_) => Err(too_large(revision, server.store.revision())),
    }
}

pub(super) fn too_large(requested: Revision, newest: Revision) -> StatusError {
    StatusError::timeout(format!("Timeout: Too large resource version: {requested}, current: {newest}")).with_details(
        json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        }),
    )
}
