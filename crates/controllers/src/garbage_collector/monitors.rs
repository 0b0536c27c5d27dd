//! A watch on the metadata of every resource there is, as resources come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use orlop_base::backoff::Backoff;
use orlop_base::error;
use orlop_client::cache::{Cache, Delta, Factory, Observer, Selection};
use orlop_client::discovery::{Discovery, Served, discover};
use orlop_client::engine::{Key, Queue};
use orlop_client::events::Recorder;
use orlop_client::{Client, Resource};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::graph::{Consequences, Graph};
use super::metadata::Metadata;

/// A new resource is served soon after its definition says so, but not at that very moment.
const SETTLE: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];
const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(30) };

/// One resource that cannot be listed must not keep garbage in all others (upstream waits as long).
const SYNC_PATIENCE: Duration = Duration::from_secs(30);

/// Nobody owns Events, and they own nothing.
fn is_ignored(resource: &Resource) -> bool {
    resource.plural == "events" && matches!(&*resource.group, "" | "events.k8s.io")
}

/// Definitions of resources: a change of one may change what is served.
fn defines_resources(resource: &Resource) -> bool {
    matches!(&*resource.plural, "customresourcedefinitions" | "apiservices")
}

/// Told of every object that is gone: its resource and its namespace.
type OnDeletion = Box<dyn Fn(&Resource, &str) + Send + Sync>;

pub struct Monitors {
    factory: Factory,
    graph: Arc<Mutex<Graph>>,
    state: Mutex<State>,
    definitions_changed: Notify,
    on_deletion: OnceLock<OnDeletion>,
}

#[derive(Default)]
struct State {
    watched: BTreeMap<Resource, Monitor>,
    /// Everything served, also what cannot be watched.
    served: Vec<Resource>,
    /// The first full sight of the cluster is complete.
    started: bool,
}

struct Monitor {
    cache: Cache<Metadata>,
    since: Instant,
    _observer: Observer,
}

impl Monitors {
    pub fn new(factory: Factory, graph: Arc<Mutex<Graph>>) -> Arc<Self> {
        let (state, definitions_changed, on_deletion) = (Mutex::default(), Notify::new(), OnceLock::new());
        Arc::new(Self { factory, graph, state, definitions_changed, on_deletion })
    }

    /// Calls `callback` for every object that is gone from now on; only the first to ask is heard.
    pub fn on_deletion(&self, callback: impl Fn(&Resource, &str) + Send + Sync + 'static) {
        let _ = self.on_deletion.set(Box::new(callback));
    }

    /// Objects of a resource in a namespace; none of what is not watched.
    pub fn count(&self, group: &str, plural: &str, namespace: &str) -> usize {
        let state = self.state();
        let watched = state.watched.iter().find(|(r, _)| r.group == group && r.plural == plural);
        watched.map_or(0, |(_, monitor)| monitor.cache.snapshot().namespace(namespace).count())
    }

    /// Whether everything watched has been seen at least once, or had its time for that.
    pub fn have_synced(&self) -> bool {
        let state = self.state();
        state.started && state.watched.values().all(|m| m.cache.has_synced() || m.since.elapsed() > SYNC_PATIENCE)
    }

    /// The resource that serves a kind, in its preferred version.
    pub fn resource_of(&self, api_version: &str, kind: &str) -> Option<Resource> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.state().served.iter().find(|r| r.group == group && r.kind == kind).cloned()
    }

    /// Keeps the watches equal to what is served, and wakes whom changes concern. Never returns.
    pub async fn run(self: Arc<Self>, queue: Queue, recorder: Recorder) {
        self.refresh(&queue, &recorder).await;
        let caches: Vec<_> = self.state().watched.values().map(|m| m.cache.clone()).collect();
        let all_synced = async {
            for cache in caches {
                cache.synced().await;
            }
        };
        if tokio::time::timeout(SYNC_PATIENCE, all_synced).await.is_err() {
            tracing::warn!("not every resource could be listed; collecting what is known to be garbage");
        }
        self.state().started = true;
        let suspects = self.graph.lock().unwrap_or_else(PoisonError::into_inner).suspects();
        for uid in &suspects {
            queue.add(Key::new("", uid));
        }
        loop {
            self.definitions_changed.notified().await;
            for wait in SETTLE {
                tokio::time::sleep(wait).await;
                self.refresh(&queue, &recorder).await;
            }
        }
    }

    async fn refresh(self: &Arc<Self>, queue: &Queue, recorder: &Recorder) {
        let discovery = self.discover().await;
        let wanted: BTreeSet<Resource> =
            discovery.resources.iter().filter(|s| is_watchable(s)).map(|s| s.resource.clone()).collect();
        let known: BTreeSet<Resource> = self.state().watched.keys().cloned().collect();
        for resource in known.difference(&wanted) {
            // A group that cannot be asked right now has not gone.
            let stale = discovery.stale.iter().any(|gv| gv.split('/').next() == Some(&resource.group));
            if !stale {
                // Dropped outside the lock: the cache may be calling its observer right now.
                let ended = self.state().watched.remove(resource);
                drop(ended);
                self.graph.lock().unwrap_or_else(PoisonError::into_inner).forget(resource);
            }
        }
        for resource in wanted.difference(&known) {
            let monitor = self.watch(resource, queue.clone(), recorder.clone());
            self.state().watched.insert(resource.clone(), monitor);
        }
        self.state().served = discovery.resources.into_iter().map(|s| s.resource).collect();
    }

    async fn discover(&self) -> Discovery {
        let client: &Client = self.factory.client();
        let mut failures = 0;
        loop {
            match discover(client).await {
                Ok(discovery) => return discovery,
                Err(failure) => {
                    failures += 1;
                    tracing::warn!(error = error::chain(&failure), "discovering resources failed");
                    tokio::time::sleep(BACKOFF.delay(failures)).await;
                }
            }
        }
    }

    fn watch(self: &Arc<Self>, resource: &Resource, queue: Queue, recorder: Recorder) -> Monitor {
        let cache = self.factory.private::<Metadata>(resource, &Selection::default());
        let (monitors, resource) = (Arc::downgrade(self), Arc::new(resource.clone()));
        let observer = cache.observe(move |delta| {
            let Some(monitors) = monitors.upgrade() else { return };
            if defines_resources(&resource) {
                monitors.definitions_changed.notify_one();
            }
            if let (Some(old), None, Some(callback)) = (&delta.old, &delta.new, monitors.on_deletion.get()) {
                callback(&resource, &old.namespace);
            }
            let news = monitors.change(&resource, delta);
            for note in news.notes {
                recorder.event(&note.about, note.kind, note.reason, note.message);
            }
            // Before the first full sight an owner may only be late; then all suspects are woken.
            if monitors.state().started {
                news.wake.iter().for_each(|uid| queue.add(Key::new("", uid)));
            }
        });
        Monitor { cache, since: Instant::now(), _observer: observer }
    }

    fn change(&self, resource: &Arc<Resource>, delta: &Delta<Metadata>) -> Consequences {
        let mut graph = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        match (&delta.old, &delta.new) {
            (_, Some(new)) => graph.put(resource, new.clone()),
            (Some(old), None) => graph.remove(&old.uid),
            (None, None) => Consequences::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_watchable(served: &Served) -> bool {
    ["list", "watch", "delete"].iter().all(|verb| served.can(verb)) && !is_ignored(&served.resource)
}
