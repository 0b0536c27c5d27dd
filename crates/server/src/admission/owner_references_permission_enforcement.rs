//! Who makes an object go with its owner must be allowed to delete it, and to hold the owner back
//! (`plugin/pkg/admission/gc`).

use futures_util::future::BoxFuture;
use orlop_api::Value;
use orlop_api::status::StatusError;

use super::{Attributes, Operation, Plugin};
use crate::Server;
use crate::auth::Decision;
use crate::request::RequestInfo;

pub struct OwnerReferencesPermissionEnforcement;

impl Plugin for OwnerReferencesPermissionEnforcement {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    fn handles(&self, a: &Attributes) -> bool {
        matches!(a.operation, Operation::Create | Operation::Update) && !(a.is("", "pods") && a.subresource == "status")
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(check(server, a))
    }
}

async fn check(server: &Server, a: &Attributes) -> Result<(), StatusError> {
    let (new, old) = (owners(&a.object), a.old_object.as_deref().map(owners).unwrap_or_default());
    if new == old {
        return Ok(());
    }
    if a.operation != Operation::Create {
        may(server, a, &deletion(a))
            .await
            .map_err(|why| a.forbidden(&format!("cannot set an ownerRef on a resource you can't delete: {why}")))?;
    }
    let blocking = newly_blocking(new, old);
    if blocking.is_empty() || may(server, a, &finalizers("*", "*", "*", "", "*")).await.is_ok() {
        return Ok(());
    }
    for owner in blocking {
        for request in holding_back(server, a, owner)? {
            may(server, a, &request).await.map_err(|why| {
                a.forbidden(&format!(
                    "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: {why}"
                ))
            })?;
        }
    }
    Ok(())
}

fn owners(object: &Value) -> &[Value] {
    object["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Owners that are held back now, and were not before.
fn newly_blocking<'a>(new: &'a [Value], old: &[Value]) -> Vec<&'a Value> {
    let blocks = |owner: &Value| owner["blockOwnerDeletion"] == true;
    let before = |owner: &Value| old.iter().any(|other| other["uid"] == owner["uid"] && blocks(other));
    new.iter().filter(|owner| blocks(owner) && !before(owner)).collect()
}

/// The error is what upstream prints of a refusal: its reason and its error.
async fn may(server: &Server, a: &Attributes, request: &RequestInfo) -> Result<(), String> {
    match server.authorizer.authorize(&a.user, request).await {
        Decision::Allow { .. } => Ok(()),
        Decision::Deny { reason } | Decision::NoOpinion { reason } => Err(format!("{reason}, <nil>")),
        Decision::Failed { reason, error, .. } => Err(format!("{reason}, {error}")),
    }
}

fn deletion(a: &Attributes) -> RequestInfo {
    let info = a.resource.info();
    RequestInfo {
        verb: "delete".into(),
        is_resource: true,
        api_group: info.group.to_string(),
        api_version: a.resource.version().into(),
        resource: info.plural.to_string(),
        subresource: a.subresource.clone(),
        namespace: a.namespace.clone(),
        name: a.name.clone(),
        ..RequestInfo::default()
    }
}

fn holding_back(server: &Server, a: &Attributes, owner: &Value) -> Result<Vec<RequestInfo>, StatusError> {
    let text = |field: &str| owner[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let resources = server.resources();
    let known = resources.iter().filter(|one| one.api_version() == api_version && *one.info().kind == *kind);
    let requests: Vec<RequestInfo> = known
        .map(|one| {
            let namespace = if one.info().namespaced { &*a.namespace } else { "" };
            finalizers(&one.info().group, one.version(), &one.info().plural, namespace, text("name"))
        })
        .collect();
    if requests.is_empty() {
        let why = format!("no matches for kind {kind:?} in version {api_version:?}");
        return Err(a.forbidden(&format!(
            "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {api_version} Kind {kind}: {why}"
        )));
    }
    Ok(requests)
}

fn finalizers(group: &str, version: &str, resource: &str, namespace: &str, name: &str) -> RequestInfo {
    RequestInfo {
        verb: "update".into(),
        is_resource: true,
        api_group: group.into(),
        api_version: version.into(),
        resource: resource.into(),
        subresource: "finalizers".into(),
        namespace: namespace.into(),
        name: name.into(),
        ..RequestInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_new_holds_are_asked_about() {
        let owner = |uid: &str, blocks: bool| json!({"uid": uid, "blockOwnerDeletion": blocks});
        let old = [owner("a", true), owner("b", false)];
        let new = [owner("a", true), owner("b", true), owner("c", false), owner("d", true)];
        let found: Vec<&str> = newly_blocking(&new, &old).iter().filter_map(|owner| owner["uid"].as_str()).collect();
        assert_eq!(found, ["b", "d"]);
    }
}
