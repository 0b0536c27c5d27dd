//! Which tokens in Secrets are still used (KEP-2799): a ConfigMap says since when that is noted
//! (`pkg/controlplane/controller/legacytokentracking`), a label on each Secret the day of its last use.

use std::time::Duration;

use orlop_api::Value;
use orlop_client::{Client, Dynamic, Patch, Resource};
use orlop_store::{Key, Store, StoreError};
use serde_json::json;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use super::legacy::{LAST_USED, Secret};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "kube-apiserver-legacy-service-account-token-tracking";
const SINCE: &str = "since";
/// Between two creations, when somebody keeps deleting it.
const CREATION_PAUSE: Duration = Duration::from_mins(30);

/// Keeps the ConfigMap and the labels, for as long as it is polled.
pub async fn run(store: &Store, client: &Client, uses: Option<Receiver<Secret>>) -> Result<(), StoreError> {
    tokio::join!(keep_map(store, client), label(client, uses)).0
}

pub fn today() -> jiff::civil::Date {
    let now = jiff::Timestamp::from_second(orlop_base::clock::unix_seconds()).unwrap_or_default();
    now.to_zoned(jiff::tz::TimeZone::UTC).date()
}

async fn label(client: &Client, uses: Option<Receiver<Secret>>) {
    let Some(mut uses) = uses else { return };
    while let Some(secret) = uses.recv().await {
        let metadata = json!({ "uid": secret.uid, "labels": { LAST_USED: today().to_string() } });
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let api = client.dynamic(&resource("secrets", "Secret"), &secret.namespace);
        if let Err(error) = api.patch(&secret.name, &patch).await {
            tracing::warn!(
                error = %orlop_base::error::chain(&error), namespace = secret.namespace, name = secret.name,
                "labelling a ServiceAccount token with the day of its last use failed"
            );
        }
    }
}

async fn keep_map(store: &Store, client: &Client) -> Result<(), StoreError> {
    let mut changes = store.watch("configmaps", Some(NAMESPACE), store.revision())?;
    let mut created: Option<Instant> = None;
    loop {
        let wait_until = match (stored(store), created) {
            (None, Some(created)) if created.elapsed() < CREATION_PAUSE => Some(created + CREATION_PAUSE),
            (stored, _) => {
                let is_new = stored.is_none();
                match ensure(client, stored).await {
                    Ok(()) if is_new => created = Some(Instant::now()),
                    Ok(()) => {}
                    // Somebody else's write, most likely: it is a change, and the next round.
                    Err(error) => {
                        tracing::warn!(error = %orlop_base::error::chain(&error), "tracking the use of tokens failed");
                    }
                }
                None
            }
        };
        match wait_until {
            None => drop(changes.next().await?),
            Some(end) => tokio::select! {
                change = changes.next() => drop(change?),
                () = tokio::time::sleep_until(end) => {}
            },
        }
    }
}

fn stored(store: &Store) -> Option<Value> {
    let key = Key { resource: "configmaps".into(), namespace: NAMESPACE.into(), name: NAME.into() };
    serde_json::from_slice(&store.newest(&key)?.json).ok()
}

async fn ensure(client: &Client, stored: Option<Value>) -> Result<(), orlop_client::Error> {
    let api = client.dynamic(&resource("configmaps", "ConfigMap"), NAMESPACE);
    match stored {
        None => {
            let metadata = json!({ "namespace": NAMESPACE, "name": NAME });
            let data = json!({ SINCE: today().to_string() });
            let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data });
            api.create(&Dynamic(object)).await?;
        }
        Some(mut object) if !is_date(&object["data"][SINCE]) => {
            if !object["data"].is_object() {
                object["data"] = json!({});
            }
            object["data"][SINCE] = today().to_string().into();
            api.update(&Dynamic(object)).await?;
        }
        Some(_) => {}
    }
    Ok(())
}

fn is_date(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok())
}

fn resource(plural: &'static str, kind: &'static str) -> Resource {
    Resource { group: "".into(), version: "v1".into(), plural: plural.into(), kind: kind.into(), namespaced: true }
}
