//! The store as its users see it.

use std::sync::Arc;

use crate::embedded::Embedded;
use crate::etcd::{Etcd, SimEtcd};
use crate::view::View;
use crate::{
    Action, Backend, BackendStats, Change, Config, Draft, Durability, Entry, EtcdConfig, Feed, HistoryLimits, Kept,
    Key, OpenError, Revision, Snapshot, StoreError, Torn, Transformer, Watch,
};

/// A handle; clones share one store. The store stops, flushing what it has acknowledged, when the
/// last one is dropped; [`Store::close`] waits for that.
#[derive(Clone)]
pub struct Store {
    view: Arc<View>,
    backend: Arc<dyn Backend>,
    torn: Option<Torn>,
    transformer: Option<Arc<dyn Transformer>>,
}

/// Sizes and counts.
#[derive(Clone, Debug)]
pub struct Stats {
    pub revision: Revision,
    pub objects: usize,
    /// Bytes of the objects' keys and JSON.
    pub object_bytes: u64,
    /// The oldest revision that watches and exact reads can start from.
    pub oldest: Revision,
    pub history_events: usize,
    pub history_bytes: usize,
    pub backend: BackendStats,
}

impl Store {
    /// Opens with the embedded backend. Must be called within a tokio runtime.
    pub async fn open(config: Config) -> Result<Store, OpenError> {
        let (history, transformer) = (config.limits.history.clone(), config.transformer.clone());
        let store = Store::over(Arc::new(Embedded::new(config)), history).await?;
        Ok(Store { transformer, ..store })
    }

    /// Opens in an etcd cluster. Must be called within a tokio runtime.
    pub async fn in_etcd(config: EtcdConfig) -> Result<Store, OpenError> {
        let transformer = config.transformer.clone();
        let store = Store::over(Arc::new(Etcd::new(config)?), HistoryLimits::default()).await?;
        Ok(Store { transformer, ..store })
    }

    /// The same in a simulated one.
    pub async fn in_sim_etcd(etcd: &SimEtcd, config: EtcdConfig) -> Result<Store, OpenError> {
        let transformer = config.transformer.clone();
        let store = Store::over(Arc::new(Etcd::simulated(etcd, config)), HistoryLimits::default()).await?;
        Ok(Store { transformer, ..store })
    }

    /// Opens over any backend that has not been loaded yet.
    pub async fn over(backend: Arc<dyn Backend>, history: HistoryLimits) -> Result<Store, OpenError> {
        let loaded = backend.load().await?;
        let torn = loaded.torn.clone();
        let view = Arc::new(View::new(loaded, history));
        backend.follow(Feed { view: view.clone() });
        Ok(Store { view, backend, torn, transformer: None })
    }

    /// Fails with `Exists` when there is such a key.
    pub async fn create(&self, key: Key, draft: Draft, durability: Durability) -> Result<Arc<Entry>, StoreError> {
        self.write(key, Action::Create(draft), durability, None).await
    }

    /// Fails with `NotFound` or `Conflict` unless the newest entry is at `expected`.
    pub async fn update(
        &self,
        key: &Key,
        expected: Revision,
        draft: Draft,
        durability: Durability,
    ) -> Result<Arc<Entry>, StoreError> {
        self.write(key.clone(), Action::Update { expected, draft }, durability, None).await
    }

    /// Like `update`; the answer is `last` with the deletion's revision, as watchers get it.
    pub async fn delete(
        &self,
        key: &Key,
        expected: Revision,
        last: Draft,
        durability: Durability,
    ) -> Result<Arc<Entry>, StoreError> {
        self.write(key.clone(), Action::Delete { expected, last }, durability, None).await
    }

    /// Any of these; with `unless_newer` it fails with `Overtaken` when another write of the same resource
    /// that said so as well is newer than that: for what must be unique among its objects.
    pub async fn write(
        &self,
        key: Key,
        action: Action,
        durability: Durability,
        unless_newer: Option<Revision>,
    ) -> Result<Arc<Entry>, StoreError> {
        if let Some(transformer) = &self.transformer {
            let deletion = matches!(action, Action::Delete { .. });
            transformer.can_seal(&key.resource, deletion).map_err(StoreError::Unsealable)?;
        }
        self.backend.write(Change { key, action, durability, unless_newer }).await
    }

    /// The durable entry.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.view.snapshot().find(key).cloned()
    }

    /// The newest entry, durable or not: what a writer prepares its change from.
    pub fn newest(&self, key: &Key) -> Option<Arc<Entry>> {
        self.backend.newest(key)
    }

    /// Whether other processes write to the same store.
    pub fn is_shared(&self) -> bool {
        self.backend.is_shared()
    }

    /// Until [`Store::newest`] shows every write acknowledged before the call, whoever made it. A writer
    /// that would refuse for what `newest` shows, or does not show, calls this first.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        self.backend.catch_up().await
    }

    pub(crate) fn transformer(&self) -> Option<&dyn Transformer> {
        self.transformer.as_deref()
    }

    /// Whether the entry is kept in another way than it would be today: its next write is worth making, even if it
    /// changes nothing.
    pub fn is_stale(&self, entry: &Entry) -> bool {
        let Some(transformer) = &self.transformer else { return false };
        let kept = match entry.memo.kept.get() {
            Some(Kept::Generation(generation)) => *generation,
            _ => 0,
        };
        kept < transformer.generation(&entry.key.resource)
    }

    /// The last durable revision.
    pub fn revision(&self) -> Revision {
        self.view.revision()
    }

    /// The durable state. Shows every flushed write that was acknowledged, but maybe not the last
    /// relaxed ones: see [`Store::consistent`].
    pub fn snapshot(&self) -> Snapshot {
        self.view.snapshot()
    }

    /// A snapshot that shows every write of `resource` acknowledged before the call, relaxed ones too:
    /// what a read without a resourceVersion answers. Waits only if there is such a write.
    pub async fn consistent(&self, resource: &str) -> Result<Snapshot, StoreError> {
        let fence = self.backend.read_fence(resource).await?;
        self.wait_for(fence).await?;
        Ok(self.view.snapshot())
    }

    /// The state as it was at `revision`; `Compacted` or `Future` when that is outside the window.
    pub fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, StoreError> {
        self.view.snapshot_at(revision)
    }

    /// Waits until `revision` is durable, however long that takes; `Closed` when it cannot happen.
    pub async fn wait_for(&self, revision: Revision) -> Result<(), StoreError> {
        if self.revision() >= revision {
            return Ok(());
        }
        self.backend.reach(revision).await
    }

    /// The last revision that anybody may have been told. Up to there waiting is worthwhile, however slow the
    /// disk; what is beyond may never come.
    pub fn promised(&self) -> Revision {
        self.backend.promised()
    }

    /// Follows `resource`, or only one namespace of it, from the first event after `after` on.
    pub fn watch(&self, resource: &str, namespace: Option<&str>, after: Revision) -> Result<Watch, StoreError> {
        Watch::new(self.view.clone(), resource, namespace, after)
    }

    /// Forgets history up to `revision`, ahead of the limits.
    pub fn compact(&self, revision: Revision) {
        self.view.compact(revision);
    }

    /// The incomplete write that opening found at the log's end and dropped.
    pub fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    pub fn stats(&self) -> Stats {
        let snapshot = self.view.snapshot();
        let (oldest, history_events, history_bytes) = self.view.window();
        Stats {
            revision: snapshot.revision(),
            objects: snapshot.state().len(),
            object_bytes: snapshot.state().bytes(),
            oldest,
            history_events,
            history_bytes,
            backend: self.backend.stats(),
        }
    }

    /// Refuses new writes, flushes those under way, ends the watches. Reads go on.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.backend.close().await
    }
}
