//! What extension API servers need to recognize our callers: ConfigMap
//! `extension-apiserver-authentication`
//! (`pkg/controlplane/controller/clusterauthenticationtrust`).

use std::sync::Arc;

use orlop_api::Value;
use orlop_client::{Client, Dynamic, Resource};
use orlop_store::{Key, Store, StoreError};
use serde_json::{Map, json};

use super::{Authorities, RequestHeaders};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// By what callers are recognized.
#[derive(Clone)]
pub struct Trust {
    pub clients: Arc<Authorities>,
    pub proxies: Arc<Authorities>,
    pub headers: RequestHeaders,
}

/// Keeps the ConfigMap true, for as long as it is polled.
pub async fn run(store: &Store, client: &Client, trust: &Trust) -> Result<(), StoreError> {
    let mut changes = store.watch("configmaps", Some(NAMESPACE), store.revision())?;
    let (mut clients, mut proxies) = (trust.clients.changes(), trust.proxies.changes());
    loop {
        if let Err(error) = ensure(store, client, &trust.data()).await {
            // Somebody else's write, most likely: it is a change, and the next round.
            tracing::warn!(error = %orlop_base::error::chain(&error), "publishing how callers are recognized failed");
        }
        tokio::select! {
            batch = changes.next() => drop(batch?),
            Ok(()) = clients.changed() => {}
            Ok(()) = proxies.changed() => {}
        }
    }
}

async fn ensure(store: &Store, client: &Client, wanted: &Map<String, Value>) -> Result<(), orlop_client::Error> {
    let key = Key { resource: "configmaps".into(), namespace: NAMESPACE.into(), name: NAME.into() };
    let stored = store.newest(&key).and_then(|entry| serde_json::from_slice::<Value>(&entry.json).ok());
    let api = client.dynamic(&resource(), NAMESPACE);
    match stored {
        None => {
            let metadata = json!({ "namespace": NAMESPACE, "name": NAME });
            let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": wanted });
            api.create(&Dynamic(object)).await?;
        }
        Some(mut object) => {
            let wanted = merged(&object["data"], wanted);
            if object["data"] != wanted {
                object["data"] = wanted;
                api.update(&Dynamic(object)).await?;
            }
        }
    }
    Ok(())
}

/// Entries of others stay.
fn merged(stored: &Value, ours: &Map<String, Value>) -> Value {
    let mut all = stored.as_object().cloned().unwrap_or_default();
    all.extend(ours.clone());
    Value::Object(all)
}

impl Trust {
    fn data(&self) -> Map<String, Value> {
        let headers = &self.headers;
        let list = |names: &[String]| Value::from(json!(names).to_string());
        Map::from_iter([
            ("client-ca-file".to_owned(), self.clients.pem().into()),
            ("requestheader-client-ca-file".to_owned(), self.proxies.pem().into()),
            ("requestheader-allowed-names".to_owned(), list(&headers.allowed_names)),
            ("requestheader-username-headers".to_owned(), list(&headers.username)),
            ("requestheader-uid-headers".to_owned(), list(&headers.uid)),
            ("requestheader-group-headers".to_owned(), list(&headers.group)),
            ("requestheader-extra-headers-prefix".to_owned(), list(&headers.extra_prefix)),
        ])
    }
}

fn resource() -> Resource {
    Resource {
        group: "".into(),
        version: "v1".into(),
        plural: "configmaps".into(),
        kind: "ConfigMap".into(),
        namespaced: true,
    }
}
