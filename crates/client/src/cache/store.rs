//! A cache: the published state, the revision it stands at, and who observes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::snapshot::{Index, Snapshot, State, key_of};
use super::subscription::Subscription;
use crate::object::{Object, Resource};

/// One change. At least one side is there. An object replaced by another of the same name
/// (different uid) is two changes: a deletion, then an addition.
#[derive(Debug)]
pub struct Delta<K> {
    pub old: Option<Arc<K>>,
    pub new: Option<Arc<K>>,
}

impl<K> Clone for Delta<K> {
    fn clone(&self) -> Self {
        Self { old: self.old.clone(), new: self.new.clone() }
    }
}

impl<K> Delta<K> {
    /// The object as it is, or as it last was.
    pub fn object(&self) -> &Arc<K> {
        self.new.as_ref().or(self.old.as_ref()).expect("a change has at least one side")
    }

    /// The sides that are there, old first.
    pub fn sides(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old.iter().chain(self.new.iter())
    }
}

type Callback<K> = Box<dyn Fn(&Delta<K>) + Send>;

/// How far a cache has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    synced: bool,
    revision: u64,
}

pub(super) struct Inner<K> {
    resource: Resource,
    state: ArcSwap<State<K>>,
    progress: watch::Sender<Progress>,
    /// Rings when `progress` changes. The channel's own waiters wake in random order, these in theirs.
    bell: Notify,
    writer: Mutex<Writer<K>>,
    /// Ends the reflector with the last handle.
    _stop: DropGuard,
    stopped: CancellationToken,
}

struct Writer<K> {
    next_observer: u64,
    /// Called in order of registration.
    observers: BTreeMap<u64, Callback<K>>,
}

/// A handle on one resource's cache. Cheap to clone; the cache ends with its last handle.
pub struct Cache<K>(Arc<Inner<K>>);

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Object> Cache<K> {
    /// An empty cache that nobody fills yet.
    pub(super) fn new(resource: Resource) -> Self {
        let stopped = CancellationToken::new();
        Self(Arc::new(Inner {
            resource,
            state: ArcSwap::default(),
            progress: watch::Sender::new(Progress::default()),
            bell: Notify::new(),
            writer: Mutex::new(Writer { next_observer: 0, observers: BTreeMap::new() }),
            _stop: stopped.clone().drop_guard(),
            stopped,
        }))
    }

    pub(super) fn downgrade(&self) -> WeakCache<K> {
        WeakCache(Arc::downgrade(&self.0))
    }

    /// Cancelled when the last handle is gone.
    pub(super) fn stopped(&self) -> CancellationToken {
        self.0.stopped.clone()
    }

    pub fn resource(&self) -> &Resource {
        &self.0.resource
    }

    /// What is known now.
    pub fn snapshot(&self) -> Snapshot<K> {
        Snapshot::new(self.0.state.load_full())
    }

    /// By namespace (empty for cluster-scoped kinds) and name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.0.state.load().objects.get(&*key_of(namespace, name)).cloned()
    }

    /// Whether the first full list has been applied.
    pub fn has_synced(&self) -> bool {
        self.0.progress.borrow().synced
    }

    /// Returns once the first full list has been applied.
    pub async fn synced(&self) {
        self.wait(|p| p.synced).await;
    }

    /// The newest revision seen, 0 before any.
    pub fn revision(&self) -> u64 {
        self.0.progress.borrow().revision
    }

    /// Returns once everything up to `revision` has been seen.
    pub async fn reached(&self, revision: u64) {
        self.wait(|p| p.synced && p.revision >= revision).await;
    }

    /// Returns once `condition` holds of the snapshot; asked again at every change.
    pub async fn wait_until(&self, mut condition: impl FnMut(&Snapshot<K>) -> bool) {
        self.wait(|p| p.synced && condition(&self.snapshot())).await;
    }

    async fn wait(&self, mut condition: impl FnMut(&Progress) -> bool) {
        loop {
            let mut rung = std::pin::pin!(self.0.bell.notified());
            // Listening before looking.
            rung.as_mut().enable();
            let progress = *self.0.progress.borrow();
            if condition(&progress) {
                return;
            }
            rung.await;
        }
    }

    /// Adds a way to find objects; the same name again changes nothing.
    pub fn add_index(&self, index: Index<K>) {
        let _writer = self.writer();
        let mut state = (**self.0.state.load()).clone();
        state.add_index(index);
        self.0.state.store(Arc::new(state));
    }

    /// Calls `callback` for what exists (as additions), then for every change in order, after the
    /// change is readable. It runs in the cache's own task: it must be quick and must not observe
    /// this cache itself. Ends when the [`Observer`] is dropped.
    #[must_use = "dropping the observer ends it"]
    pub fn observe(&self, callback: impl Fn(&Delta<K>) + Send + 'static) -> Observer
    where
        K: Object,
    {
        let mut writer = self.writer();
        for object in self.snapshot().iter() {
            callback(&Delta { old: None, new: Some(object.clone()) });
        }
        let id = writer.next_observer;
        writer.next_observer += 1;
        writer.observers.insert(id, Box::new(callback));
        drop(writer);
        let cache = self.downgrade();
        Observer(Some(Box::new(move || cache.forget(id))))
    }

    /// What exists (as additions), then every change, to be taken at leisure: changes of one object
    /// that wait together are merged into one, so a slow reader costs memory per object, not per change.
    pub fn subscribe(&self) -> Subscription<K> {
        Subscription::new(self)
    }

    fn writer(&self) -> MutexGuard<'_, Writer<K>> {
        self.0.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies changes of a watch, in order, and moves to `revision`.
    pub(super) fn apply(&self, changes: Vec<(Arc<str>, Option<K>)>, revision: u64) {
        let writer = self.writer();
        let mut state = (**self.0.state.load()).clone();
        let mut deltas = Vec::with_capacity(changes.len());
        for (key, object) in changes {
            let new = object.map(Arc::new);
            let old = state.set(&key, new.clone());
            push_delta(&mut deltas, old, new);
        }
        self.publish(&writer, state, &deltas, |p| p.revision = p.revision.max(revision));
    }

    /// Makes the cache hold exactly `objects`, as a list at `revision` showed them.
    pub(super) fn replace(&self, objects: BTreeMap<Arc<str>, K>, revision: u64) {
        let writer = self.writer();
        let mut state = (**self.0.state.load()).clone();
        let gone: Vec<Arc<str>> = state.objects.keys().filter(|key| !objects.contains_key(*key)).cloned().collect();
        let mut deltas = Vec::new();
        for key in gone {
            let old = state.set(&key, None);
            push_delta(&mut deltas, old, None);
        }
        for (key, object) in objects {
            let known = state.objects.get(&key);
            if known.is_some_and(|k| k.resource_version() == object.resource_version() && k.uid() == object.uid()) {
                continue;
            }
            let new = Some(Arc::new(object));
            let old = state.set(&key, new.clone());
            push_delta(&mut deltas, old, new);
        }
        self.publish(&writer, state, &deltas, |p| *p = Progress { synced: true, revision });
    }

    fn publish(&self, writer: &Writer<K>, state: State<K>, deltas: &[Delta<K>], advance: impl FnOnce(&mut Progress)) {
        if !deltas.is_empty() {
            self.0.state.store(Arc::new(state));
        }
        for callback in writer.observers.values() {
            deltas.iter().for_each(callback);
        }
        self.0.progress.send_if_modified(|progress| {
            let before = *progress;
            advance(progress);
            *progress != before || !deltas.is_empty()
        });
        self.0.bell.notify_waiters();
    }
}

fn push_delta<K: Object>(deltas: &mut Vec<Delta<K>>, old: Option<Arc<K>>, new: Option<Arc<K>>) {
    match (old, new) {
        (None, None) => {}
        (Some(old), Some(new)) if old.uid() != new.uid() => {
            deltas.push(Delta { old: Some(old), new: None });
            deltas.push(Delta { old: None, new: Some(new) });
        }
        (old, new) => deltas.push(Delta { old, new }),
    }
}

/// A cache that does not keep itself alive.
pub(super) struct WeakCache<K>(Weak<Inner<K>>);

impl<K: Object> WeakCache<K> {
    pub fn upgrade(&self) -> Option<Cache<K>> {
        self.0.upgrade().map(Cache)
    }

    fn forget(&self, observer: u64) {
        if let Some(cache) = self.upgrade() {
            let callback = cache.writer().observers.remove(&observer);
            // Dropped after the lock: a callback may own handles on this very cache.
            drop(callback);
        }
    }
}

/// Ends an observation when dropped.
pub struct Observer(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Drop for Observer {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}
