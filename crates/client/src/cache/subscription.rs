//! Changes of a cache as a queue that merges what waits together.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::snapshot::key_of;
use super::store::{Cache, Delta, Observer};
use crate::object::Object;

/// A reader of changes; see [`Cache::subscribe`].
pub struct Subscription<K> {
    shared: Arc<Shared<K>>,
    _observer: Observer,
}

struct Shared<K> {
    queue: Mutex<Queue<K>>,
    changed: Notify,
}

struct Queue<K> {
    waiting: BTreeMap<Arc<str>, Delta<K>>,
    /// Keys of `waiting`, oldest change first.
    order: VecDeque<Arc<str>>,
}

impl<K: Object> Subscription<K> {
    pub(super) fn new(cache: &Cache<K>) -> Self {
        let queue = Mutex::new(Queue { waiting: BTreeMap::new(), order: VecDeque::new() });
        let shared = Arc::new(Shared { queue, changed: Notify::new() });
        let writer = shared.clone();
        let observer = cache.observe(move |delta| writer.push(delta));
        Self { shared, _observer: observer }
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
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let key = queue.order.pop_front()?;
        queue.waiting.remove(&key)
    }
}

impl<K: Object> Shared<K> {
    fn push(&self, delta: &Delta<K>) {
        let object = delta.object();
        // Two objects of one name are two entries: their uids differ.
        let key: Arc<str> = format!("{}#{}", key_of(object.namespace(), object.name()), object.uid()).into();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.waiting.get_mut(&key) {
            Some(waiting) => {
                let seen = std::mem::replace(&mut waiting.new, delta.new.clone());
                if waiting.old.is_none() && waiting.new.is_none() {
                    // Came and went: show what it was.
                    waiting.old = delta.old.clone().or(seen);
                }
            }
            None => {
                queue.waiting.insert(key.clone(), delta.clone());
                queue.order.push_back(key);
            }
        }
        drop(queue);
        self.changed.notify_one();
    }
}
