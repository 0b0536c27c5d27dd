//! One task for each APIService that names a Service: looks whether the server there answers, says so in the
//! APIService's status, and learns what it publishes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use orlop_api::{Value, meta};
use orlop_base::backoff::Backoff;
use orlop_base::clock;
use orlop_store::{Batch, Key, StoreError, Watch};
use tokio_util::task::AbortOnDropHandle;

use super::availability::{Unavailable, obstacle};
use super::documents::Published;
use super::metrics::METRICS;
use super::{KEY, PATH, Remote};
use crate::Server;
use crate::bootstrap::send;
use crate::connect::extension::ExtensionServer;
use crate::custom::status::{condition, is_true, set_condition};

const SERVICES: &str = "services";
const SLICES: &str = "discovery.k8s.io/endpointslices";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Nobody tells when another server dies or changes: upstream asks this often, too.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// Until one that should answer does.
const RETRY: Backoff = Backoff { initial: Duration::from_millis(500), max: ASK_EVERY };

/// Others write statuses, too; after so many conflicts in a row the next round says it.
const TELL_ATTEMPTS: usize = 5;

/// All keepers, by APIService.
pub struct Keepers {
    server: Arc<Server>,
    held: BTreeMap<String, Held>,
}

struct Held {
    uid: String,
    spec: Value,
    /// Ends with this.
    _task: AbortOnDropHandle<()>,
}

impl Keepers {
    pub fn new(server: Arc<Server>) -> Self {
        Self { server, held: BTreeMap::new() }
    }

    /// Those that are stored, and no others.
    pub fn reset(&mut self, stored: &[Value]) {
        METRICS.forget_all();
        let names: Vec<String> = self.held.keys().cloned().collect();
        for name in names.iter().filter(|name| !stored.iter().any(|stored| meta::name(stored) == **name)) {
            self.forget(name);
        }
        stored.iter().for_each(|api_service| self.changed(api_service));
    }

    pub fn gone(&mut self, api_service: &Value) {
        METRICS.gone(meta::name(api_service));
        self.forget(meta::name(api_service));
    }

    pub fn changed(&mut self, api_service: &Value) {
        let (name, uid, spec) = (meta::name(api_service), meta::uid(api_service), &api_service["spec"]);
        METRICS.stands(name, is_true(&api_service["status"], "Available"));
        if !spec["service"].is_object() {
            return self.forget(name);
        }
        if self.held.get(name).is_some_and(|held| held.uid == uid && held.spec == *spec) {
            return;
        }
        let keeper = Keeper::new(self.server.clone(), api_service);
        keeper.publish();
        let task = AbortOnDropHandle::new(orlop_base::task::spawn(keeper.run()));
        self.held.insert(name.to_owned(), Held { uid: uid.to_owned(), spec: spec.clone(), _task: task });
    }

    fn forget(&mut self, name: &str) {
        if self.held.remove(name).is_some() {
            self.server.aggregation.publish(name, None);
        }
    }
}

struct Keeper {
    server: Arc<Server>,
    name: String,
    remote: Remote,
}

impl Keeper {
    /// Begins with what its status says: who was available stays so until found otherwise.
    fn new(server: Arc<Server>, api_service: &Value) -> Self {
        let (name, spec) = (meta::name(api_service), &api_service["spec"]);
        let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
        let number = |field: &str| spec[field].as_i64().unwrap_or_default();
        let way = ExtensionServer::new(&server.store, spec, server.front_proxy.clone());
        let before = server.aggregation.remotes().get(name).map(|remote| remote.published.clone());
        let remote = Remote {
            group: text("group"),
            version: text("version"),
            group_priority: number("groupPriorityMinimum"),
            version_priority: number("versionPriority"),
            server: way.map(Arc::new),
            available: is_true(&api_service["status"], "Available"),
            published: before.unwrap_or_default(),
        };
        Self { server, name: name.to_owned(), remote }
    }

    fn publish(&self) {
        self.server.aggregation.publish(&self.name, Some(&self.remote));
    }

    async fn run(mut self) {
        let mut failures = 0;
        while let Ok(mut changes) = Changes::follow(&self) {
            let found = self.look().await;
            self.tell(found.as_ref().err()).await;
            let pause = match &found {
                Ok(published) => {
                    failures = 0;
                    self.remote.published = published.clone();
                    ASK_EVERY
                }
                Err(_) => {
                    failures += 1;
                    self.remote.published = Arc::new(self.remote.published.stale());
                    RETRY.delay(failures)
                }
            };
            self.remote.available = found.is_ok();
            self.publish();
            tokio::select! {
                closed = changes.next() => if closed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// What the server publishes, or why it is not available.
    async fn look(&self) -> Result<Arc<Published>, Unavailable> {
        let failed = |message| Unavailable { reason: "FailedDiscoveryCheck", message };
        let way = self.remote.server.as_ref().map_err(|why| failed(why.clone()))?;
        let (namespace, name, _) = way.service();
        let snapshot = self.server.store.snapshot();
        let parse = |entry: &Arc<orlop_store::Entry>| serde_json::from_slice::<Value>(&entry.json).ok();
        let service = snapshot.get(SERVICES, namespace, name).and_then(parse);
        let slices = snapshot.range(SLICES, Some(namespace), None).filter_map(parse);
        let slices: Vec<Value> = slices.filter(|slice| slice["metadata"]["labels"][SERVICE_NAME] == name).collect();
        if let Some(obstacle) = obstacle(way.service(), service.as_ref(), &slices) {
            return Err(obstacle);
        }
        self.remote.published.renewed(way, &self.remote).await.map(Arc::new).map_err(failed)
    }

    /// Writes the condition, unless it stands there.
    async fn tell(&self, unavailable: Option<&Unavailable>) {
        let us = self.server.apiserver();
        let path = format!("{PATH}/{}/status", self.name);
        for _ in 0..TELL_ATTEMPTS {
            let Some(api_service) = self.told(unavailable) else { return };
            match send(&us, Method::PUT, &path, &api_service).await {
                Err(error) if error.is_conflict() => {}
                Err(error) => return tracing::warn!(api_service = %self.name, %error, "writing its status failed"),
                Ok(()) => {
                    let lost = unavailable.filter(|_| self.remote.available);
                    return lost.into_iter().for_each(|found| METRICS.lost(&self.name, found.reason));
                }
            }
        }
    }

    /// As stored, with the condition; `None` when there is nothing to change.
    fn told(&self, unavailable: Option<&Unavailable>) -> Option<Value> {
        let key = Key { resource: KEY.into(), namespace: "".into(), name: self.name.as_str().into() };
        let mut api_service: Value = serde_json::from_slice(&self.server.store.newest(&key)?.json).ok()?;
        let (reason, message) =
            unavailable.map_or(("Passed", "all checks passed"), |found| (found.reason, found.message.as_str()));
        let before = api_service["status"].clone();
        let available = condition("Available", unavailable.is_none(), reason, message);
        set_condition(&mut api_service["status"], &available, &clock::rfc3339());
        (api_service["status"] != before).then_some(api_service)
    }
}

/// What a verdict stands on.
struct Changes {
    service: String,
    services: Watch,
    slices: Watch,
}

impl Changes {
    fn follow(keeper: &Keeper) -> Result<Self, StoreError> {
        let (namespace, service) = match &keeper.remote.server {
            Ok(server) => (server.service().0, server.service().1),
            Err(_) => ("", ""),
        };
        let store = &keeper.server.store;
        let revision = store.revision();
        Ok(Self {
            service: service.to_owned(),
            services: store.watch(SERVICES, Some(namespace), revision)?,
            slices: store.watch(SLICES, Some(namespace), revision)?,
        })
    }

    /// The next that concerns the Service; also when more happened than is remembered.
    async fn next(&mut self) -> Result<(), StoreError> {
        let of_service = |batch: &Batch| batch.iter().any(|event| *event.entry.key.name == *self.service);
        let is_labelled = |slice: &Value| slice["metadata"]["labels"][SERVICE_NAME] == self.service.as_str();
        let of_slices = |batch: &Batch| {
            let mut slices = batch.iter().filter_map(|event| serde_json::from_slice::<Value>(&event.entry.json).ok());
            slices.any(|slice| is_labelled(&slice))
        };
        loop {
            let concerned = tokio::select! {
                batch = self.services.next() => batch.map(|batch| of_service(&batch)),
                batch = self.slices.next() => batch.map(|batch| of_slices(&batch)),
            };
            match concerned {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(StoreError::Closed) => return Err(StoreError::Closed),
                Err(_) => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ServerConfig;
    use crate::authz::Authorization;

    #[tokio::test]
    async fn a_changed_service_is_available_as_it_was() {
        let store = orlop_store::Store::open(orlop_store::Config::in_memory()).await.unwrap();
        let authorizer = Arc::new(Authorization::new(&store));
        let mut keepers = Keepers::new(Server::new(ServerConfig::new(store, authorizer)));
        let mut api_service = json!({
            "metadata": {"name": "v1.example.com", "uid": "u"},
            "spec": {"group": "example.com", "version": "v1", "service": {"namespace": "a", "name": "b"}},
        });
        let is_available = |keepers: &Keepers| keepers.server.aggregation.remotes()["v1.example.com"].available;
        keepers.changed(&api_service);
        assert!(!is_available(&keepers));
        api_service["spec"]["versionPriority"] = 10.into();
        api_service["status"] = json!({"conditions": [{"type": "Available", "status": "True"}]});
        keepers.changed(&api_service);
        assert!(is_available(&keepers), "nothing was asked yet");
        keepers.gone(&api_service);
        assert!(keepers.server.aggregation.remotes().is_empty());
    }
}
