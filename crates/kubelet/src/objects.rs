//! Objects that pods here refer to. Of ConfigMaps and Secrets one watch per object, shared by all pods
//! that name it, ended with the last of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orlop_api::typed::Typed;
use orlop_client::cache::{Cache, Factory, Observer, Selection};
use orlop_client::{Client, Resource};

use crate::corev1::{ConfigMap, Secret};
use crate::env::Found;
use crate::pods::Wakers;
use crate::volumes::pod_certificate::PodCertificates;
use crate::volumes::trust_bundle::TrustBundles;

/// How long a pod's start waits for the first look at an object; upstream's kubelet waits one
/// second for its watch to sync.
pub const FIRST_LOOK: Duration = Duration::from_secs(1);

type Key = (String, String);

/// The objects of both kinds.
pub struct Objects {
    pub config_maps: Watched<ConfigMap>,
    pub secrets: Watched<Secret>,
    pub trust_bundles: TrustBundles,
    pub certificates: PodCertificates,
}

impl Objects {
    pub fn new(client: &Client, factory: &Factory, wakers: &Arc<Wakers>, node_name: &str) -> Self {
        Self {
            config_maps: Watched::new(client, factory, wakers),
            secrets: Watched::new(client, factory, wakers),
            trust_bundles: TrustBundles::new(factory, wakers),
            certificates: PodCertificates::new(factory, wakers, node_name),
        }
    }

    /// Forgets a pod; what no other pod names is watched no longer.
    pub fn forget(&self, pod_uid: &str) {
        self.config_maps.forget(pod_uid);
        self.secrets.forget(pod_uid);
        self.trust_bundles.forget(pod_uid);
        self.certificates.forget(pod_uid);
    }
}

/// Watched objects of one kind.
pub struct Watched<K> {
    client: Client,
    factory: Factory,
    wakers: Arc<Wakers>,
    entries: Mutex<BTreeMap<Key, Entry<K>>>,
}

struct Entry<K> {
    cache: Cache<K>,
    users: Arc<Mutex<BTreeSet<String>>>,
    _observer: Observer,
}

impl<K: Typed> Watched<K> {
    fn new(client: &Client, factory: &Factory, wakers: &Arc<Wakers>) -> Self {
        let (client, factory, wakers) = (client.clone(), factory.clone(), wakers.clone());
        Self { client, factory, wakers, entries: Mutex::default() }
    }

    /// The object as last seen. From now on the pod is woken when it changes.
    pub async fn get(&self, pod_uid: &str, namespace: &str, name: &str) -> Found<K> {
        let cache = self.watch(pod_uid, namespace, name);
        if tokio::time::timeout(FIRST_LOOK, cache.synced()).await.is_ok() {
            return cache.get(namespace, name).map_or(Found::Missing, Found::Object);
        }
        // The watch is slow or not allowed: ask once, so that the reason can be told.
        match self.client.api::<K>(namespace).get_opt(name).await {
            Ok(Some(object)) => Found::Object(Arc::new(object)),
            Ok(None) => Found::Missing,
            Err(error) => Found::Failed(orlop_base::error::chain(&error)),
        }
    }

    fn watch(&self, pod_uid: &str, namespace: &str, name: &str) -> Cache<K> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), name.to_owned());
        let entry = entries.entry(key).or_insert_with(|| self.entry(namespace, name));
        entry.users.lock().unwrap_or_else(PoisonError::into_inner).insert(pod_uid.to_owned());
        entry.cache.clone()
    }

    fn entry(&self, namespace: &str, name: &str) -> Entry<K> {
        let which = Selection {
            namespace: namespace.to_owned(),
            field_selector: format!("metadata.name={name}"),
            ..Selection::default()
        };
        let cache: Cache<K> = self.factory.private(&Resource::of::<K>(), &which);
        let users: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let (wake, told) = (self.wakers.clone(), users.clone());
        let observer = cache.observe(move |_| {
            for uid in told.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                wake.content_changed(uid);
            }
        });
        Entry { cache, users, _observer: observer }
    }

    fn forget(&self, pod_uid: &str) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| {
            let mut users = entry.users.lock().unwrap_or_else(PoisonError::into_inner);
            users.remove(pod_uid);
            !users.is_empty()
        });
    }
}
