//! The caches that one identity shares.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use orlop_api::typed::Typed;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::item::Item;
use super::reflector;
use super::store::Cache;
use crate::client::Client;
use crate::object::{Object, Resource};
use crate::params::ListOptions;

/// Which objects of a resource a cache holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selection {
    /// Empty: all namespaces.
    pub namespace: String,
    pub label_selector: String,
    pub field_selector: String,
}

impl Selection {
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { field_selector: selector.into(), ..Self::default() }
    }

    pub(super) fn list(&self) -> ListOptions {
        ListOptions {
            label_selector: self.label_selector.clone(),
            field_selector: self.field_selector.clone(),
            ..ListOptions::default()
        }
    }
}

/// Hands out caches, one per resource and selection, each watched once with this factory's
/// identity. Components with equal rights share a factory, and so the memory.
#[derive(Clone)]
pub struct Factory(Arc<Shared>);

struct Shared {
    client: Client,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    caches: Mutex<BTreeMap<Wanted, Box<dyn Any + Send + Sync>>>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    resource: Resource,
    which: Selection,
    /// The same resource may be held as different types (typed, bare metadata).
    object: TypeId,
}

impl Factory {
    /// Every cache ends when `shutdown` is cancelled; [`Factory::ended`] waits for that.
    pub fn new(client: Client, shutdown: CancellationToken) -> Self {
        let (tasks, caches) = (TaskTracker::new(), Mutex::default());
        Self(Arc::new(Shared { client, shutdown, tasks, caches }))
    }

    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The shared cache of a typed kind, all namespaces. Starts watching on first demand.
    pub fn cache<K: Typed>(&self) -> Cache<K> {
        self.cache_of(&Resource::of::<K>(), &Selection::default())
    }

    /// The shared cache of part of a resource.
    pub fn cache_of<K: Object>(&self, resource: &Resource, which: &Selection) -> Cache<K> {
        let wanted = Wanted { resource: resource.clone(), which: which.clone(), object: TypeId::of::<K>() };
        let mut caches = self.0.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let cache = caches.entry(wanted).or_insert_with(|| Box::new(self.private::<K>(resource, which)));
        cache.downcast_ref::<Cache<K>>().expect("the key holds the type").clone()
    }

    /// A cache that nobody else shares and that ends with its last handle: for resources that come
    /// and go.
    pub fn private<K: Object>(&self, resource: &Resource, which: &Selection) -> Cache<K> {
        let cache = Cache::new(resource.clone());
        let api = self.0.client.resource::<K>(resource, &which.namespace).decoding(Item::decode::<K>);
        let run = reflector::run(api, which.clone(), Arc::downgrade(cache.store()), self.0.shutdown.clone());
        self.0.tasks.spawn(orlop_base::task::boxed(run));
        cache
    }

    /// Returns once every watch has ended after shutdown.
    pub async fn ended(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}
