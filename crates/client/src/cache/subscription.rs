//! Changes of a cache as a queue that merges what waits together.

use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::item::Change;
use super::store::{Delta, Observer, Store};
use crate::object::Object;

/// A reader of changes; see [`super::Cache::subscribe`].
pub struct Subscription<K> {
    shared: Arc<Shared>,
    kind: PhantomData<fn() -> K>,
    _observer: Observer,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: BTreeMap<Arc<str>, Change>,
    /// Keys of `waiting`, oldest change first.
    order: VecDeque<Arc<str>>,
}

impl<K: Object> Subscription<K> {
    pub(super) fn new(store: &Arc<Store>) -> Self {
        let shared = Arc::new(Shared::default());
        let writer = shared.clone();
        let observer = store.observe(Box::new(move |change| writer.push(change)));
        Self { shared, kind: PhantomData, _observer: observer }
    }

    /// The next change. Safe to drop while waiting. What was merged shows the first old and the
    /// last new state; an object that came and went unseen shows as a change with the new side gone.
    pub async fn next(&mut self) -> Delta<K> {
        loop {
            if let Some(delta) = self.try_next() {
                return delta;
            }
            // A change since the look above left a permit: nothing is missed.
            self.shared.changed.notified().await;
        }
    }

    /// The next change, if one waits.
    pub fn try_next(&mut self) -> Option<Delta<K>> {
        self.shared.pop().as_ref().map(Delta::of)
    }
}

impl Shared {
    fn pop(&self) -> Option<Change> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let key = queue.order.pop_front()?;
        queue.waiting.remove(&key)
    }

    fn push(&self, change: &Change) {
        let item = change.item();
        // Two objects of one name are two entries: their uids differ.
        let key: Arc<str> = format!("{}#{}", item.key(), item.uid()).into();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.waiting.get_mut(&key) {
            Some(waiting) => {
                let seen = std::mem::replace(&mut waiting.new, change.new.clone());
                if waiting.old.is_none() && waiting.new.is_none() {
                    // Came and went: show what it was.
                    waiting.old = change.old.clone().or(seen);
                }
            }
            None => {
                queue.waiting.insert(key.clone(), change.clone());
                queue.order.push_back(key);
            }
        }
        drop(queue);
        self.changed.notify_one();
    }
}
