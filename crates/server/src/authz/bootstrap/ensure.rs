//! Making and completing the objects, through the API like everybody else.

use orlop_api::{Value, meta};
use orlop_client::{Client, DeleteOptions, Dynamic, Resource};

use super::policy::{GROUP, objects};
use super::reconcile::{Step, reconcile};

/// One object of the policy could not be brought about.
#[derive(Debug, thiserror::Error)]
#[error("reconciling the default {kind} {name}")]
pub struct BootstrapError {
    kind: String,
    name: String,
    source: orlop_client::Error,
}

/// Tries per object: it may be changed, deleted or created by others in between.
const ATTEMPTS: usize = 3;

/// Objects under way at once; their writes share the store's flushes.
const CONCURRENCY: usize = 64;

/// Brings the default policy about. All that can be done is done before an error is returned.
pub async fn ensure(client: &Client) -> Result<(), BootstrapError> {
    use futures_util::StreamExt;
    let objects = objects();
    let ensure = |object| ensure_one(client, object);
    let results: Vec<_> = futures_util::stream::iter(objects).map(ensure).buffer_unordered(CONCURRENCY).collect().await;
    results.into_iter().collect()
}

async fn ensure_one(client: &Client, object: Value) -> Result<(), BootstrapError> {
    let mut result = Ok(());
    for _ in 0..ATTEMPTS {
        result = attempt(client, &object).await;
        match &result {
            Err(error) if error.is_conflict() || error.is_not_found() || error.is_already_exists() => {}
            _ => break,
        }
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    result.map_err(|source| BootstrapError { kind: text(&object["kind"]), name: meta::name(&object).into(), source })
}

async fn attempt(client: &Client, object: &Value) -> Result<(), orlop_client::Error> {
    let api = client.dynamic(&resource(object), meta::namespace(object));
    let existing = api.get_opt(meta::name(object)).await?;
    match reconcile(existing.as_deref(), object) {
        Step::Nothing => {}
        Step::Create => drop(api.create(&Dynamic(object.clone())).await?),
        Step::Update(changed) => drop(api.update(&Dynamic(*changed)).await?),
        Step::Recreate { uid } => {
            api.delete(meta::name(object), &DeleteOptions::uid(uid)).await?;
            api.create(&Dynamic(object.clone())).await?;
        }
    }
    Ok(())
}

fn resource(object: &Value) -> Resource {
    let (plural, namespaced) = match object["kind"].as_str().unwrap_or_default() {
        "ClusterRole" => ("clusterroles", false),
        "ClusterRoleBinding" => ("clusterrolebindings", false),
        "Role" => ("roles", true),
        _ => ("rolebindings", true),
    };
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    Resource { group: GROUP.into(), version: "v1".into(), plural: plural.into(), kind: kind.into(), namespaced }
}
