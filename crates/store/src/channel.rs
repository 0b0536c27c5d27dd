//! The recent events of one resource and the watchers that wait for more.
//!
//! Events are kept once; a watcher is a cursor into them. That bounds what a slow watcher costs
//! (nothing) and what a fast one copies (a pointer per batch).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::Notify;

use crate::{Event, Revision};

pub(crate) struct Channel {
    ring: RwLock<Ring>,
    /// Rings for every event of the resource.
    bell: Arc<Notify>,
    /// Rings for a namespace's events only: a watcher of one namespace sleeps through the others'.
    namespace_bells: Mutex<BTreeMap<Arc<str>, Arc<Notify>>>,
}

struct Ring {
    batches: VecDeque<Arc<[Event]>>,
    /// Events up to here may be missing.
    evicted: Revision,
    closed: bool,
}

/// What a cursor finds.
pub(crate) enum Read {
    Batch(Arc<[Event]>),
    /// Nothing yet.
    Empty,
    /// Events after the cursor are gone; the first ones left are after this revision.
    Lost(Revision),
    Closed,
}

impl Channel {
    pub fn new(evicted: Revision) -> Channel {
        Channel {
            ring: RwLock::new(Ring { batches: VecDeque::new(), evicted, closed: false }),
            bell: Arc::default(),
            namespace_bells: Mutex::default(),
        }
    }

    /// Appends without waking anybody: readers may look, but are called by [`Channel::ring`].
    pub fn push(&self, events: Arc<[Event]>) {
        self.ring_mut().batches.push_back(events);
    }

    pub fn ring(&self, events: &[Event]) {
        self.bell.notify_waiters();
        let bells = lock(&self.namespace_bells);
        if bells.is_empty() {
            return;
        }
        let mut last = None;
        for namespace in events.iter().map(|event| &event.entry.key.namespace) {
            // Neighbours mostly share the namespace; ringing twice is only waste.
            if last.replace(namespace) != Some(namespace)
                && let Some(bell) = bells.get(namespace)
            {
                bell.notify_waiters();
            }
        }
    }

    /// Forgets the oldest batch.
    pub fn evict_front(&self) {
        let mut ring = self.ring_mut();
        if let Some(last) = ring.batches.pop_front().and_then(|batch| batch.last().map(|event| event.revision)) {
            ring.evicted = last;
        }
    }

    pub fn close(&self) {
        self.ring_mut().closed = true;
        self.bell.notify_waiters();
        lock(&self.namespace_bells).values().for_each(|bell| bell.notify_waiters());
    }

    /// The first batch with an event after `cursor` that `wanted` wants.
    pub fn read(&self, cursor: Revision, wanted: impl Fn(&Event) -> bool) -> Read {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        if cursor < ring.evicted {
            return Read::Lost(ring.evicted);
        }
        let first = ring.batches.partition_point(|batch| batch.last().is_none_or(|event| event.revision <= cursor));
        let found = ring.batches.range(first..).find(|batch| batch.iter().any(|e| e.revision > cursor && wanted(e)));
        match found {
            Some(batch) => Read::Batch(batch.clone()),
            None if ring.closed => Read::Closed,
            None => Read::Empty,
        }
    }

    pub fn subscribe(&self, namespace: Option<&Arc<str>>) -> Arc<Notify> {
        match namespace {
            None => self.bell.clone(),
            Some(namespace) => lock(&self.namespace_bells).entry(namespace.clone()).or_default().clone(),
        }
    }

    /// Gives a namespace's bell back; the last one to do so takes it down.
    pub fn unsubscribe(&self, namespace: &Arc<str>, bell: Arc<Notify>) {
        let mut bells = lock(&self.namespace_bells);
        drop(bell);
        if bells.get(namespace).is_some_and(|bell| Arc::strong_count(bell) == 1) {
            bells.remove(namespace);
        }
    }

    fn ring_mut(&self) -> std::sync::RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A panic elsewhere cannot leave these half-changed: every critical section is a few moves.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_without_watchers_has_no_bell() {
        let channel = Channel::new(0);
        let namespace: Arc<str> = "a".into();
        let (one, two) = (channel.subscribe(Some(&namespace)), channel.subscribe(Some(&namespace)));
        assert!(Arc::ptr_eq(&one, &two));
        channel.unsubscribe(&namespace, one);
        assert_eq!(lock(&channel.namespace_bells).len(), 1);
        channel.unsubscribe(&namespace, two);
        assert!(lock(&channel.namespace_bells).is_empty());
    }
}
