//! A view of some resources, folded from the store and brought up to date when it is read.
//!
//! Reading first applies what became durable since: a request never meets a view that is older
//! than itself, there is no task to run and none to wait for. When nothing was written in between,
//! that costs one atomic load.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use orlop_api::Value;
use orlop_store::{Entry, Revision, Store, StoreError, Watch};

/// Something made of objects, one change at a time.
pub trait Fold: Default + Send + Sync {
    /// Storage keys of the resources it is made of, in the order in which changes are applied.
    const RESOURCES: &'static [&'static str];

    /// The object as it is now; `None` when it is gone.
    fn apply(&mut self, resource: &str, namespace: &str, name: &str, object: Option<&Value>);
}

pub struct Follower<T> {
    store: Store,
    view: RwLock<T>,
    watches: Mutex<Vec<Watch>>,
    /// The view shows everything up to here.
    seen: AtomicU64,
}

impl<T: Fold> Follower<T> {
    /// Nothing is read before the first use.
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            view: RwLock::default(),
            watches: Mutex::default(),
            // No revision, so that the first read fills the view also from an empty store.
            seen: AtomicU64::new(Revision::MAX),
        }
    }

    /// The view as of now.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        let now = self.store.revision();
        if self.seen.load(Ordering::Acquire) != now {
            self.catch_up(now);
        }
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn catch_up(&self, now: Revision) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if self.seen.load(Ordering::Acquire) == now {
            return;
        }
        if watches.is_empty() || self.advance(&mut watches).is_err() {
            *watches = self.rebuild();
        }
        self.seen.store(now, Ordering::Release);
    }

    /// Applies what the watches have; fails when they missed something.
    fn advance(&self, watches: &mut [Watch]) -> Result<(), StoreError> {
        for (resource, watch) in T::RESOURCES.iter().zip(watches) {
            loop {
                match watch.try_next() {
                    Ok(Some(batch)) => {
                        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
                        for event in batch.iter() {
                            change(&mut *view, resource, &event.entry, event.deleted);
                        }
                    }
                    // A closed store changes no more.
                    Ok(None) | Err(StoreError::Closed) => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn rebuild(&self) -> Vec<Watch> {
        let snapshot = self.store.snapshot();
        let mut fresh = T::default();
        for resource in T::RESOURCES {
            for entry in snapshot.range(resource, None, None) {
                change(&mut fresh, resource, entry, false);
            }
        }
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        let watches = T::RESOURCES.iter().map(|resource| self.store.watch(resource, None, snapshot.revision()));
        // A snapshot outrun by compaction between two lines: the next read builds again.
        watches.collect::<Result<_, _>>().unwrap_or_default()
    }
}

fn change<T: Fold>(view: &mut T, resource: &str, entry: &Entry, deleted: bool) {
    let object = if deleted { None } else { serde_json::from_slice::<Value>(&entry.json).ok() };
    view.apply(resource, &entry.key.namespace, &entry.key.name, object.as_ref());
}
