//! A cache: the published state, the revision it stands at, and who observes it.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::item::{Change, Item};
use super::snapshot::{Index, ItemIndex, Snapshot, State, key_of};
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

impl<K: Object> Delta<K> {
    pub(super) fn of(change: &Change) -> Self {
        let side = |item: &Option<Item>| item.as_ref().map(|item| item.object::<K>().clone());
        Self { old: side(&change.old), new: side(&change.new) }
    }
}

/// A handle on one resource's cache. Cheap to clone; the cache ends with its last handle.
pub struct Cache<K> {
    store: Arc<Store>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), kind: PhantomData }
    }
}

impl<K: Object> Cache<K> {
    /// An empty cache that nobody fills yet.
    pub(super) fn new(resource: Resource) -> Self {
        Self { store: Arc::new(Store::new(resource)), kind: PhantomData }
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub fn resource(&self) -> &Resource {
        &self.store.resource
    }

    /// What is known now.
    pub fn snapshot(&self) -> Snapshot<K> {
        Snapshot::new(self.store.state.load_full())
    }

    /// By namespace (empty for cluster-scoped kinds) and name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.state.load().objects.get(&*key_of(namespace, name)).map(|item| item.object::<K>().clone())
    }

    /// Whether the first full list has been applied.
    pub fn has_synced(&self) -> bool {
        self.store.progress.borrow().synced
    }

    /// Returns once the first full list has been applied.
    pub async fn synced(&self) {
        self.store.reached(0).await;
    }

    /// The newest revision seen, 0 before any.
    pub fn revision(&self) -> u64 {
        self.store.progress.borrow().revision
    }

    /// Returns once everything up to `revision` has been seen.
    pub async fn reached(&self, revision: u64) {
        self.store.reached(revision).await;
    }

    /// Returns once `condition` holds of the snapshot; asked again at every change.
    pub async fn wait_until(&self, mut condition: impl FnMut(&Snapshot<K>) -> bool) {
        self.store.wait(|p| p.synced && condition(&self.snapshot())).await;
    }

    /// Adds a way to find objects; the same name again changes nothing.
    pub fn add_index(&self, index: Index<K>) {
        self.store.add_index(index.into());
    }

    /// Calls `callback` for what exists (as additions), then for every change in order, after the
    /// change is readable. It runs in the cache's own task: it must be quick and must not observe
    /// this cache itself. Ends when the [`Observer`] is dropped.
    #[must_use = "dropping the observer ends it"]
    pub fn observe(&self, callback: impl Fn(&Delta<K>) + Send + 'static) -> Observer {
        self.store.observe(Box::new(move |change| callback(&Delta::of(change))))
    }

    /// What exists (as additions), then every change, to be taken at leisure: changes of one object
    /// that wait together are merged into one, so a slow reader costs memory per object, not per change.
    pub fn subscribe(&self) -> Subscription<K> {
        Subscription::new(&self.store)
    }
}

type Callback = Box<dyn Fn(&Change) + Send>;

/// How far a cache has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    synced: bool,
    revision: u64,
}

/// What the handles on a cache share, whatever its kind.
pub(super) struct Store {
    resource: Resource,
    state: ArcSwap<State>,
    progress: watch::Sender<Progress>,
    /// Rings when `progress` changes. The channel's own waiters wake in random order, these in theirs.
    bell: Notify,
    writer: Mutex<Writer>,
    /// Ends the reflector with the last handle.
    _stop: DropGuard,
    stopped: CancellationToken,
}

#[derive(Default)]
struct Writer {
    next_observer: u64,
    /// Called in order of registration.
    observers: BTreeMap<u64, Callback>,
}

impl Store {
    fn new(resource: Resource) -> Self {
        let stopped = CancellationToken::new();
        Self {
            resource,
            state: ArcSwap::default(),
            progress: watch::Sender::new(Progress::default()),
            bell: Notify::new(),
            writer: Mutex::default(),
            _stop: stopped.clone().drop_guard(),
            stopped,
        }
    }

    /// Cancelled when the last handle is gone.
    pub fn stopped(&self) -> CancellationToken {
        self.stopped.clone()
    }

    async fn reached(&self, revision: u64) {
        self.wait(|p| p.synced && p.revision >= revision).await;
    }

    async fn wait(&self, mut condition: impl FnMut(&Progress) -> bool) {
        loop {
            let mut rung = std::pin::pin!(self.bell.notified());
            // Listening before looking.
            rung.as_mut().enable();
            let progress = *self.progress.borrow();
            if condition(&progress) {
                return;
            }
            rung.await;
        }
    }

    fn add_index(&self, index: ItemIndex) {
        let _writer = self.writer();
        let mut state = (**self.state.load()).clone();
        state.add_index(index);
        self.state.store(Arc::new(state));
    }

    pub fn observe(self: &Arc<Self>, callback: Callback) -> Observer {
        let mut writer = self.writer();
        for item in self.state.load_full().objects.values() {
            callback(&Change { old: None, new: Some(item.clone()) });
        }
        let id = writer.next_observer;
        writer.next_observer += 1;
        writer.observers.insert(id, callback);
        Observer { store: Arc::downgrade(self), id }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies changes of a watch, in order, and moves to `revision`.
    pub fn apply(&self, changes: Vec<(Arc<str>, Option<Item>)>, revision: u64) {
        let writer = self.writer();
        let mut state = (**self.state.load()).clone();
        let mut seen = Vec::with_capacity(changes.len());
        for (key, new) in changes {
            let old = state.set(&key, new.clone());
            push_change(&mut seen, old, new);
        }
        self.publish(&writer, state, &seen, |p| p.revision = p.revision.max(revision));
    }

    /// Makes the cache hold exactly `objects`, as a list at `revision` showed them.
    pub fn replace(&self, objects: BTreeMap<Arc<str>, Item>, revision: u64) {
        let writer = self.writer();
        let mut state = (**self.state.load()).clone();
        let gone: Vec<Arc<str>> = state.objects.keys().filter(|key| !objects.contains_key(*key)).cloned().collect();
        let mut seen = Vec::new();
        for key in gone {
            let old = state.set(&key, None);
            push_change(&mut seen, old, None);
        }
        for (key, item) in objects {
            let known = state.objects.get(&key);
            if known.is_some_and(|k| k.resource_version() == item.resource_version() && k.uid() == item.uid()) {
                continue;
            }
            let old = state.set(&key, Some(item.clone()));
            push_change(&mut seen, old, Some(item));
        }
        self.publish(&writer, state, &seen, |p| *p = Progress { synced: true, revision });
    }

    fn publish(&self, writer: &Writer, state: State, changes: &[Change], advance: impl FnOnce(&mut Progress)) {
        if !changes.is_empty() {
            self.state.store(Arc::new(state));
        }
        for callback in writer.observers.values() {
            changes.iter().for_each(callback);
        }
        self.progress.send_if_modified(|progress| {
            let before = *progress;
            advance(progress);
            *progress != before || !changes.is_empty()
        });
        self.bell.notify_waiters();
    }
}

fn push_change(changes: &mut Vec<Change>, old: Option<Item>, new: Option<Item>) {
    match (old, new) {
        (None, None) => {}
        (Some(old), Some(new)) if old.uid() != new.uid() => {
            changes.push(Change { old: Some(old), new: None });
            changes.push(Change { old: None, new: Some(new) });
        }
        (old, new) => changes.push(Change { old, new }),
    }
}

/// Ends an observation when dropped.
pub struct Observer {
    store: Weak<Store>,
    id: u64,
}

impl Drop for Observer {
    fn drop(&mut self) {
        if let Some(store) = self.store.upgrade() {
            let callback = store.writer().observers.remove(&self.id);
            // Dropped after the lock: a callback may own handles on this very cache.
            drop(callback);
        }
    }
}
