//! Services with their EndpointSlices, as the pod network and DNS follow them: one key per Service,
//! told whenever the Service or one of its slices changes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{EndpointSlice, Service};
use tokio::sync::Notify;

use crate::cache::{Cache, Factory, Index, Observer};

/// Label that names a slice's Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
const BY_SERVICE: &str = "by-service";

/// A queue of Services to look at again. Keys wait once however often they change.
pub struct ServiceFeed {
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    queue: Arc<Queue>,
    _observers: (Observer, Observer),
}

#[derive(Default)]
struct Queue {
    keys: Mutex<(VecDeque<(String, String)>, BTreeSet<(String, String)>)>,
    changed: Notify,
}

/// One Service as it is now; `service` is `None` when it is gone.
pub struct ServiceState {
    pub namespace: String,
    pub name: String,
    pub service: Option<Arc<Service>>,
    /// In name order.
    pub slices: Vec<Arc<EndpointSlice>>,
}

impl ServiceFeed {
    /// Follows all Services; those that exist come first.
    pub fn new(factory: &Factory) -> Self {
        let (services, slices) = (factory.cache::<Service>(), factory.cache::<EndpointSlice>());
        slices.add_index(Index { name: BY_SERVICE, values: |slice| owner(slice).into_iter().collect() });
        let queue = Arc::new(Queue::default());
        let (to, too) = (queue.clone(), queue.clone());
        let observers = (
            services.observe(move |delta| to.push(delta.object().namespace(), delta.object().name())),
            slices.observe(move |delta| {
                for slice in delta.sides() {
                    if let Some(name) = service_name(slice) {
                        too.push(slice.namespace(), name);
                    }
                }
            }),
        );
        Self { services, slices, queue, _observers: observers }
    }

    /// Once both caches hold everything that existed at the start.
    pub async fn synced(&self) {
        self.services.synced().await;
        self.slices.synced().await;
    }

    /// The next Service that changed. Safe to drop while waiting.
    pub async fn next(&self) -> ServiceState {
        loop {
            if let Some(state) = self.try_next() {
                return state;
            }
            self.queue.changed.notified().await;
        }
    }

    /// The next Service that changed, if one waits.
    pub fn try_next(&self) -> Option<ServiceState> {
        self.queue.pop().map(|(namespace, name)| self.state(namespace, name))
    }

    fn state(&self, namespace: String, name: String) -> ServiceState {
        let service = self.services.get(&namespace, &name);
        let slices = self.slices.snapshot();
        let slices = slices.indexed(BY_SERVICE, &format!("{namespace}/{name}")).cloned().collect();
        ServiceState { namespace, name, service, slices }
    }
}

impl Queue {
    fn push(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.1.insert(key.clone()) {
            keys.0.push_back(key);
            self.changed.notify_one();
        }
    }

    fn pop(&self) -> Option<(String, String)> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let key = keys.0.pop_front()?;
        keys.1.remove(&key);
        Some(key)
    }
}

fn service_name(slice: &EndpointSlice) -> Option<&str> {
    slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL).map(String::as_str)
}

fn owner(slice: &EndpointSlice) -> Option<String> {
    service_name(slice).map(|name| format!("{}/{name}", slice.namespace()))
}
