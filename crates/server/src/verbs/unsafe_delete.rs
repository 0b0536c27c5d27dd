//! DELETE of an object that cannot be read (KEP 3926): nobody can tell what depends on it.

use orlop_api::status::StatusError;
use orlop_store::{Draft, StoreError};
use serde_json::json;

use crate::Server;
use crate::auth::Decision;
use crate::call::Call;
use crate::options::DeleteOptions;
use crate::request::RequestInfo;
use crate::server::store_failed;
use crate::wire::respond::Content;

const VERB: &str = "unsafe-delete-ignore-read-errors";

/// Finalizers, preconditions and admission are passed over: they are in what cannot be read.
pub async fn unsafe_delete(server: &Server, call: &Call, options: &DeleteOptions) -> Result<Content, StatusError> {
    call.trail.annotate("apiserver.k8s.io/unsafe-delete-ignore-read-error", "");
    permit(server, call).await?;
    let resource = &call.resource;
    let key = resource.key(call.namespace(), &call.info.name);
    loop {
        let existing = server.store.newest(&key).ok_or_else(|| call.not_found())?;
        if existing.unreadable().is_none() {
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: unsafe \
                 deletion is not allowed because the object is decodable from storage",
                key.path()
            );
            return Err(StatusError::conflict(resource.group_resource(), &key.name, &why));
        }
        if options.dry_run {
            break;
        }
        // All that is known of it, for those who watch.
        let mut last = json!({"apiVersion": resource.api_version(), "kind": &*resource.info().kind,
                              "metadata": {"name": &*key.name}});
        if !key.namespace.is_empty() {
            last["metadata"]["namespace"] = (&*key.namespace).into();
        }
        let deleted = server.store.delete(&key, existing.revision, Draft::encode(&last), Server::durability(resource));
        match deleted.await {
            Ok(_) => break,
            Err(StoreError::Conflict(_) | StoreError::NotFound) => {}
            Err(error) => return Err(store_failed(error)),
        }
    }
    let details = json!({"name": call.info.name, "kind": &*resource.info().kind});
    Ok(Content::Value(
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details, "code": 200}),
    ))
}

async fn permit(server: &Server, call: &Call) -> Result<(), StatusError> {
    let wanted = RequestInfo { verb: VERB.into(), ..RequestInfo::clone(&call.info) };
    match server.authorizer.authorize(&call.user, &wanted).await {
        Decision::Allow { .. } => Ok(()),
        Decision::Deny { reason } | Decision::NoOpinion { reason } | Decision::Failed { reason, .. } => {
            let why = format!("not permitted to do {VERB:?}, reason: {reason}");
            Err(StatusError::forbidden(call.resource.group_resource(), &call.info.name, &why))
        }
    }
}
