//! The backend inside this process: one counter, one queue of writes, one committer.
//!
//! A write decides under a short lock against the newest state and joins the queue. The committer
//! takes the whole queue at once, makes it durable and publishes it: while it flushes, the next
//! group gathers. Nothing holds the lock during I/O.

mod commit;
mod committer;
mod queue;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::backend::{Backend, BackendStats, Change, Feed, Loaded, OpenError};
use crate::draft::Filling;
use crate::{Action, Config, Durability, Entry, Key, Limits, Revision, State, StoreError};
use commit::Commit;
use committer::Committer;
use queue::Queue;

/// An empty store is at revision 1, as a new etcd is: lists of an empty cluster need a resourceVersion
/// other than 0, which means "any".
const FIRST_REVISION: Revision = 1;

pub(crate) struct Embedded {
    config: Config,
    shared: Arc<Shared>,
}

/// What writers and the committer both touch.
pub(crate) struct Shared {
    limits: Limits,
    queue: Mutex<Queue>,
    /// Rings when the queue has become worth the committer's look.
    bell: Notify,
    feed: OnceLock<Feed>,
    /// Last revision given to a relaxed write.
    last_relaxed: AtomicU64,
    stats: Mutex<BackendStats>,
    stopped: Commit,
}

impl Embedded {
    pub fn new(config: Config) -> Embedded {
        let shared = Shared {
            limits: config.limits.clone(),
            queue: Mutex::new(Queue::new(FIRST_REVISION, State::default())),
            bell: Notify::new(),
            feed: OnceLock::new(),
            last_relaxed: AtomicU64::new(0),
            stats: Mutex::default(),
            stopped: Commit::default(),
        };
        Embedded { config, shared: Arc::new(shared) }
    }
}

impl Backend for Embedded {
    fn load(&self) -> BoxFuture<'_, Result<Loaded, OpenError>> {
        let _ = &self.config;
        Box::pin(std::future::ready(Ok(Loaded { revision: FIRST_REVISION, state: State::default(), events: vec![] })))
    }

    fn follow(&self, feed: Feed) {
        assert!(self.shared.feed.set(feed.clone()).is_ok(), "a backend is followed once");
        let committer = Committer { shared: self.shared.clone(), feed };
        tokio::spawn(committer.run());
    }

    fn write(&self, change: Change) -> BoxFuture<'_, Result<Arc<Entry>, StoreError>> {
        Box::pin(self.shared.write(change))
    }

    fn newest(&self, key: &Key) -> Option<Arc<Entry>> {
        self.shared.queue().newest.find(key).cloned()
    }

    fn read_fence(&self, resource: &str) -> BoxFuture<'_, Result<Revision, StoreError>> {
        Box::pin(std::future::ready(Ok(self.shared.read_fence(resource))))
    }

    fn stats(&self) -> BackendStats {
        self.shared.stats().clone()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.shared.stop();
        Box::pin(self.shared.stopped.wait())
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    async fn write(&self, change: Change) -> Result<Arc<Entry>, StoreError> {
        let Change { key, action, durability } = change;
        let draft = action.draft().clone();
        if draft.json.len() > self.limits.object_bytes {
            return Err(StoreError::TooLarge { size: draft.json.len(), limit: self.limits.object_bytes });
        }
        let filling = Filling::new(draft, self.revision() + 1);
        let (entry, commit) = {
            let mut queue = self.queue();
            let entry = queue.admit(key, &action, filling)?;
            if durability == Durability::Relaxed {
                self.last_relaxed.store(entry.revision, Ordering::Release);
                queue.note_relaxed(&entry);
            }
            let waits = durability == Durability::Flushed || queue.pending_bytes > self.limits.unflushed_bytes;
            queue.urgent |= waits;
            (entry, waits.then(|| queue.commit.clone()))
        };
        self.bell.notify_one();
        if let Some(commit) = commit {
            commit.wait().await?;
        }
        Ok(entry)
    }

    fn read_fence(&self, resource: &str) -> Revision {
        let durable = self.revision();
        if self.last_relaxed.load(Ordering::Acquire) <= durable {
            return durable;
        }
        let mut queue = self.queue();
        let fence = queue.relaxed_revision(resource).unwrap_or(durable);
        if fence > durable {
            queue.urgent = true;
            drop(queue);
            self.bell.notify_one();
        }
        fence
    }

    /// Last durable revision.
    fn revision(&self) -> Revision {
        self.feed.get().map_or(0, Feed::revision)
    }

    fn stop(&self) {
        self.queue().closing = true;
        self.bell.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> MutexGuard<'_, BackendStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Action {
    fn draft(&self) -> &crate::Draft {
        match self {
            Action::Create(draft) | Action::Update { draft, .. } | Action::Delete { last: draft, .. } => draft,
        }
    }
}
