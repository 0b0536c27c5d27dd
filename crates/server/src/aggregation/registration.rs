//! An APIService for every version of a group that definitions serve, kept as long as one of them does
//! (`pkg/controlplane/controller/crdregistration`, `kube-aggregator/pkg/controllers/autoregister`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use http::Method;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use orlop_store::{Batch, Key, Store, StoreError};
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{KEY, PATH, RETRY};
use crate::bootstrap::send;
use crate::{Component, Server, custom};

const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Below the groups of this binary, and versions among themselves by their names.
const GROUP_PRIORITY: u32 = 1000;
const VERSION_PRIORITY: u32 = 100;
/// Writes at once, as upstream's workers.
const CONCURRENCY: usize = 5;

impl Server {
    /// Keeps the APIServices of definitions until `stop`.
    pub(crate) async fn register_definitions(self: Arc<Self>, stop: CancellationToken) {
        let me = self.apiserver();
        let work = async {
            loop {
                // It ends when it fell behind: what is stored is read anew.
                if let Err(StoreError::Closed) = follow(&self.store, &me).await {
                    return;
                }
            }
        };
        stop.run_until_cancelled(work).await;
    }
}

async fn follow(store: &Store, me: &Component) -> Result<(), StoreError> {
    let revision = store.revision();
    let mut definitions = store.watch(custom::KEY, None, revision)?;
    let mut api_services = store.watch(KEY, None, revision)?;
    let mut served = Served::default();
    let names = |resource| store.snapshot().range(resource, None, None).map(|entry| entry.key.name.clone()).collect();
    let mut due: BTreeSet<Arc<str>> = names(KEY);
    let defined: BTreeSet<Arc<str>> = names(custom::KEY);
    defined.iter().for_each(|name| due.extend(served.learn(store, name)));
    let mut failures = 0;
    loop {
        due = settle(store, me, &served, due).await;
        failures = if due.is_empty() { 0 } else { failures + 1 };
        tokio::select! {
            batch = definitions.next() => {
                for name in touched(&batch?) {
                    due.extend(served.learn(store, &name));
                }
            }
            batch = api_services.next() => due.extend(touched(&batch?)),
            () = tokio::time::sleep(RETRY.delay(failures)), if failures > 0 => {}
        }
    }
}

fn touched(batch: &Batch) -> BTreeSet<Arc<str>> {
    batch.iter().map(|event| event.entry.key.name.clone()).collect()
}

/// What definitions serve, by the names of APIServices.
#[derive(Default)]
struct Served {
    by_definition: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    definitions: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl Served {
    /// Takes over what the definition serves as it is stored now; returns what it served or serves.
    fn learn(&mut self, store: &Store, name: &Arc<str>) -> BTreeSet<Arc<str>> {
        let json = stored(store, custom::KEY, name);
        self.put(name, json.and_then(|json| versions(&json)).unwrap_or_default())
    }

    fn put(&mut self, name: &Arc<str>, now: BTreeSet<Arc<str>>) -> BTreeSet<Arc<str>> {
        let before = self.by_definition.remove(name).unwrap_or_default();
        for version in before.difference(&now) {
            if let Some(definitions) = self.definitions.get_mut(version) {
                definitions.remove(name);
                if definitions.is_empty() {
                    self.definitions.remove(version);
                }
            }
        }
        for version in &now {
            self.definitions.entry(version.clone()).or_default().insert(name.clone());
        }
        let touched = &before | &now;
        self.by_definition.insert(name.clone(), now);
        touched
    }
}

/// Of a definition no more is read than this: schemas are long.
#[derive(Deserialize)]
struct Definition {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    group: String,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    name: String,
    served: bool,
}

/// `VERSION.GROUP` of each that is served.
fn versions(definition: &[u8]) -> Option<BTreeSet<Arc<str>>> {
    let Definition { spec } = serde_json::from_slice(definition).ok()?;
    let served = spec.versions.iter().filter(|version| version.served);
    Some(served.map(|version| format!("{}.{}", version.name, spec.group).into()).collect())
}

fn stored(store: &Store, resource: &str, name: &Arc<str>) -> Option<bytes::Bytes> {
    let key = Key { resource: resource.into(), namespace: "".into(), name: name.clone() };
    store.newest(&key).map(|entry| entry.json.clone())
}

/// Makes these APIServices what they should be; returns those with which it failed.
async fn settle(store: &Store, me: &Component, served: &Served, due: BTreeSet<Arc<str>>) -> BTreeSet<Arc<str>> {
    let one = |name: Arc<str>| async move {
        let present = stored(store, KEY, &name).and_then(|json| serde_json::from_slice(&json).ok());
        let plan = decide(&name, served.definitions.contains_key(&name), present.as_ref());
        match plan.carry_out(me, &name).await {
            Err(error) if !has_changed(&error) => {
                tracing::warn!(api_service = %name, %error, "keeping the APIService of definitions failed");
                Some(name)
            }
            _ => None,
        }
    };
    stream::iter(due).map(one).buffer_unordered(CONCURRENCY).filter_map(std::future::ready).collect().await
}

/// Somebody was faster: there is an event, after which it is looked at again.
fn has_changed(error: &StatusError) -> bool {
    error.is_conflict() || error.is_not_found() || error.is_already_exists()
}

#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Nothing,
    Create(Value),
    Update(Value),
    /// Only the one with this uid.
    Delete(String),
}

/// Those of others stay as they are, and so do those made at start for groups of this binary.
fn decide(name: &str, is_wanted: bool, present: Option<&Value>) -> Plan {
    let (version, group) = name.split_once('.').unwrap_or((name, ""));
    let spec = json!({
        "group": group, "version": version,
        "groupPriorityMinimum": GROUP_PRIORITY, "versionPriority": VERSION_PRIORITY,
    });
    match present {
        None if is_wanted => Plan::Create(json!({
            "kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1",
            "metadata": {"name": name, "labels": {AUTOMANAGED: "true"}}, "spec": spec,
        })),
        Some(present) if present["metadata"]["labels"][AUTOMANAGED] != "true" => Plan::Nothing,
        Some(present) if !is_wanted => Plan::Delete(meta::uid(present).to_owned()),
        Some(present) if present["spec"] != spec => {
            let mut corrected = present.clone();
            corrected["spec"] = spec;
            Plan::Update(corrected)
        }
        _ => Plan::Nothing,
    }
}

impl Plan {
    async fn carry_out(&self, me: &Component, name: &str) -> Result<(), StatusError> {
        let path = format!("{PATH}/{name}");
        match self {
            Self::Nothing => Ok(()),
            Self::Create(object) => send(me, Method::POST, PATH, object).await,
            Self::Update(object) => send(me, Method::PUT, &path, object).await,
            Self::Delete(uid) => send(me, Method::DELETE, &path, &json!({"preconditions": {"uid": uid}})).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn a_version_is_wanted_as_long_as_one_definition_serves_it() {
        let mut served = Served::default();
        let (a, b): (Arc<str>, Arc<str>) = ("as.g.io".into(), "bs.g.io".into());
        assert_eq!(served.put(&a, set(&["v1.g.io", "v2.g.io"])), set(&["v1.g.io", "v2.g.io"]));
        served.put(&b, set(&["v1.g.io"]));
        assert_eq!(served.put(&a, set(&["v3.g.io"])), set(&["v1.g.io", "v2.g.io", "v3.g.io"]));
        assert!(served.definitions.keys().eq(&set(&["v1.g.io", "v3.g.io"])));
        served.put(&b, set(&[]));
        assert!(served.definitions.keys().eq(&set(&["v3.g.io"])));
    }

    #[test]
    fn versions_that_are_not_served_do_not_count() {
        let versions = |json: Value| super::versions(json.to_string().as_bytes());
        let listed = json!([{"name": "v1", "served": true, "schema": {}}, {"name": "v2", "served": false}]);
        assert_eq!(versions(json!({"spec": {"group": "g.io", "versions": listed}})), Some(set(&["v1.g.io"])));
        assert_eq!(versions(json!({"spec": {}})), None);
    }

    #[test]
    fn only_what_is_managed_is_changed() {
        let Plan::Create(mut present) = decide("v1.g.io", true, None) else { panic!("it is not there") };
        present["metadata"]["uid"] = "u".into();
        assert_eq!(decide("v1.g.io", false, None), Plan::Nothing);
        assert_eq!(decide("v1.g.io", true, Some(&present)), Plan::Nothing);
        assert_eq!(decide("v1.g.io", false, Some(&present)), Plan::Delete("u".into()));
        let mut changed = present.clone();
        changed["spec"]["versionPriority"] = 1.into();
        assert_eq!(decide("v1.g.io", true, Some(&changed)), Plan::Update(present));
        changed["metadata"]["labels"][AUTOMANAGED] = "onstart".into();
        for is_wanted in [true, false] {
            assert_eq!(decide("v1.g.io", is_wanted, Some(&changed)), Plan::Nothing);
        }
    }
}
