//! What writers and the committer both touch, and how a write joins the queue.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::commit::Commit;
use super::log;
use super::queue::Queue;
use crate::backend::{BackendStats, Change, Feed};
use crate::draft::Filling;
use crate::{Action, Durability, Entry, Limits, Revision, State, StoreError, UNFLUSHED_REVISIONS};

pub(crate) struct Shared {
    pub limits: Limits,
    queue: Mutex<Queue>,
    /// Rings when the queue has become worth the committer's look.
    pub bell: Notify,
    pub feed: OnceLock<Feed>,
    /// Last revision given to a relaxed write.
    last_relaxed: AtomicU64,
    stats: Mutex<BackendStats>,
    pub stopped: Commit,
}

impl Shared {
    pub fn new(limits: Limits) -> Shared {
        Shared {
            limits,
            queue: Mutex::new(Queue::new(0, State::default())),
            bell: Notify::new(),
            feed: OnceLock::new(),
            last_relaxed: AtomicU64::new(0),
            stats: Mutex::default(),
            stopped: Commit::default(),
        }
    }

    pub async fn write(&self, change: Change) -> Result<Arc<Entry>, StoreError> {
        let Change { key, action, durability, unless_newer } = change;
        let draft = action.draft().clone();
        if draft.json.len() > self.limits.object_bytes || !log::fits(&key) {
            return Err(StoreError::TooLarge { size: draft.json.len(), limit: self.limits.object_bytes });
        }
        let filling = Filling::new(draft, self.revision() + 1);
        let (entry, commit, ring) = {
            let mut queue = self.queue();
            let first = queue.pending.is_empty();
            let entry = queue.admit(key, &action, unless_newer, filling)?;
            if durability == Durability::Relaxed {
                self.last_relaxed.store(entry.revision, Ordering::Release);
                queue.note_relaxed(&entry);
            }
            let waits = durability == Durability::Flushed || !self.may_run_ahead(&queue);
            queue.urgent |= waits;
            (entry, waits.then(|| queue.commit.clone()), first || waits)
        };
        // With the queue free: who wakes up looks into it at once.
        if ring {
            self.bell.notify_one();
        }
        if let Some(commit) = commit {
            commit.wait().await?;
        }
        Ok(entry)
    }

    /// Whether the newest write may be acknowledged before it is durable.
    fn may_run_ahead(&self, queue: &Queue) -> bool {
        let durable = self.revision();
        // The first write breaks the log's seal: until then a restart would not skip revisions.
        durable > queue.opened_at
            && queue.revision <= durable + UNFLUSHED_REVISIONS
            && queue.pending_bytes <= self.limits.unflushed_bytes
    }

    pub fn read_fence(&self, resource: &str) -> Revision {
        let durable = self.revision();
        if self.last_relaxed.load(Ordering::Acquire) <= durable {
            return durable;
        }
        let queue = self.queue();
        queue.relaxed_revision(resource).unwrap_or(durable)
    }

    /// A relaxed write that somebody waits for is flushed at once.
    pub async fn reach(&self, revision: Revision) -> Result<(), StoreError> {
        let feed = self.feed.get().ok_or(StoreError::Closed)?;
        let ring = {
            let mut queue = self.queue();
            let pending = feed.revision() < revision && revision <= queue.revision;
            queue.urgent |= pending;
            pending
        };
        if ring {
            self.bell.notify_one();
        }
        feed.view.wait_for(revision).await
    }

    /// Last durable revision.
    fn revision(&self) -> Revision {
        self.feed.get().map_or(0, Feed::revision)
    }

    /// Fails what is under way and all that will come.
    pub fn fail(&self, failure: io::Error) -> Arc<io::Error> {
        let failure = Arc::new(failure);
        let feed = self.feed.get().expect("set before there is a committer");
        self.queue().fail(&failure, feed.state());
        self.stats().failure = Some(failure.to_string());
        feed.fail(failure.clone());
        failure
    }

    pub fn stop(&self) {
        self.queue().closing = true;
        self.bell.notify_one();
    }

    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    pub fn stats(&self) -> MutexGuard<'_, BackendStats> {
        lock(&self.stats)
    }
}

/// Every critical section here is short and leaves things whole: a panic elsewhere does not matter.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Action {
    fn draft(&self) -> &crate::Draft {
        match self {
            Action::Create(draft) | Action::Update { draft, .. } | Action::Delete { last: draft, .. } => draft,
        }
    }
}
