//! A definition that goes takes its objects with it (`pkg/controller/finalizer/crd_finalizer.go`).

use std::sync::Arc;

use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use orlop_base::clock;

use super::status::{condition, is_true, set_condition};
use super::{KEY, PATH, tell};
use crate::Server;
use crate::bootstrap::send;
use crate::options::DeleteOptions;
use crate::resource::Resource;
use crate::server::store_failed;
use crate::verbs;

pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Deleted, and waiting for its objects.
pub fn is_due(definition: &Value) -> bool {
    let finalizers = definition["metadata"]["finalizers"].as_array();
    meta::is_terminating(definition) && finalizers.is_some_and(|list| list.iter().any(|name| name == FINALIZER))
}

/// Deletes the objects, waits until their own finalizers let them go, then lets the definition go.
pub async fn clean_up(server: &Arc<Server>, definition: &Value) {
    let name = meta::name(definition);
    note(server, name, true, "InstanceDeletionInProgress", "CustomResource deletion is in progress").await;
    let established = is_true(&definition["status"], "Established");
    if established {
        if let Err(error) = delete_all(server, definition).await {
            let message = format!("could not issue all deletes: {}", error.message);
            tracing::warn!(definition = name, %error, "deleting a definition's objects failed");
            return note(server, name, true, "InstanceDeletionFailed", &message).await;
        }
        note(server, name, false, "InstanceDeletionCompleted", "removed all instances").await;
    } else {
        note(server, name, false, "NeverEstablished", "resource was never established").await;
    }
    let Some(mut last) = newest(server, name) else { return };
    if let Some(finalizers) = meta::metadata_mut(&mut last).get_mut("finalizers").and_then(Value::as_array_mut) {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    if let Err(error) = send(&server.apiserver(), http::Method::PUT, &format!("{PATH}/{name}"), &last).await
        && !error.is_not_found()
    {
        // The write that was in the way made an event, which starts this again.
        tracing::debug!(definition = name, %error, "letting a definition go failed");
    }
}

fn newest(server: &Server, name: &str) -> Option<Value> {
    let key = orlop_store::Key { resource: KEY.into(), namespace: "".into(), name: name.into() };
    serde_json::from_slice(&server.store.newest(&key)?.json).ok()
}

async fn note(server: &Arc<Server>, name: &str, status: bool, reason: &str, message: &str) {
    let Some(mut definition) = newest(server, name) else { return };
    let terminating = condition("Terminating", status, reason, message);
    set_condition(&mut definition["status"], &terminating, &clock::rfc3339());
    tell(server, &definition).await;
}

async fn delete_all(server: &Server, definition: &Value) -> Result<(), StatusError> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let version = versions.find(|version| version["storage"] == true).map(|version| text(&version["name"]));
    let (group, plural) = (text(&definition["spec"]["group"]), text(&definition["status"]["acceptedNames"]["plural"]));
    // Objects need no conversion in the version they are stored in.
    let stored = server.resource(&group, &version.unwrap_or_default(), &plural);
    let served = || server.resources().iter().find(|r| r.info().group == *group && r.info().plural == *plural).cloned();
    let Some(resource) = stored.or_else(served) else { return Ok(()) };
    loop {
        let revision = server.store.revision();
        let mut changes = server.store.watch(resource.storage_key(), None, revision).map_err(store_failed)?;
        if delete_present(server, &resource).await? == 0 {
            return Ok(());
        }
        changes.next().await.map_err(store_failed)?;
    }
}

/// How many there were.
async fn delete_present(server: &Server, resource: &Resource) -> Result<usize, StatusError> {
    let snapshot = server.store.snapshot();
    let mut present = 0;
    for entry in snapshot.range(resource.storage_key(), None, None) {
        present += 1;
        let (namespace, name) = (&*entry.key.namespace, &*entry.key.name);
        let target = verbs::Target { resource, namespace, name, admission: None };
        match verbs::delete_one(server, target, &DeleteOptions::default()).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(present)
}
