//! The backend inside this process: one counter, one queue of writes, one committer.
//!
//! A write decides under a short lock against the newest state and joins the queue. The committer
//! takes the whole queue at once, makes it durable and publishes it: while it flushes, the next
//! group gathers. Nothing holds the lock during I/O.

mod commit;
mod committer;
mod log;
mod queue;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tracing::warn;

use crate::backend::{Backend, BackendStats, Change, Feed, Loaded, OpenError};
use crate::config::Place;
use crate::disk::{Disk, RealDisk};
use crate::draft::Filling;
use crate::{Action, Config, Durability, Entry, Key, Limits, Revision, State, StoreError, Torn};
use commit::Commit;
use committer::Committer;
use log::{Log, Opened};
use queue::Queue;

/// An empty store is at revision 1, as a new etcd is: lists of an empty cluster need a resourceVersion
/// other than 0, which means "any".
const FIRST_REVISION: Revision = 1;

pub(crate) struct Embedded {
    config: Config,
    shared: Arc<Shared>,
    /// From `load` to `follow`.
    loaded: Mutex<Option<(Option<Log>, Host)>>,
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

/// How the committer runs.
enum Host {
    /// On a thread of its own, because the disk blocks.
    Thread,
    /// As a task among others.
    Task,
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
        Embedded { config, shared: Arc::new(shared), loaded: Mutex::new(None) }
    }

    async fn load(&self) -> Result<Loaded, OpenError> {
        let opened = match self.config.place.clone() {
            Place::Memory => {
                *lock(&self.loaded) = Some((None, Host::Task));
                return Ok(Loaded { revision: FIRST_REVISION, state: State::default(), events: vec![], torn: None });
            }
            Place::Disk(disk) if !disk.blocks() => open_log(disk, &self.config.limits)?,
            Place::Disk(disk) => blocking(self.config.limits.clone(), move || Ok(disk)).await?,
            Place::Directory(path) => blocking(self.config.limits.clone(), move || open_directory(&path)).await?,
        };
        let (Opened { log, state, revision, events, torn }, host) = opened;
        if let Some(Torn { file, offset, bytes }) = &torn {
            warn!(
                file,
                offset, bytes, "dropped an incomplete write at the end of the log; nobody was told it succeeded"
            );
        }
        let revision = revision.unwrap_or(FIRST_REVISION);
        *self.shared.queue() = Queue::new(revision, state.clone());
        *lock(&self.loaded) = Some((Some(log), host));
        Ok(Loaded { revision, state, events, torn })
    }
}

async fn blocking(
    limits: Limits,
    disk: impl FnOnce() -> Result<Arc<dyn Disk>, OpenError> + Send + 'static,
) -> Result<(Opened, Host), OpenError> {
    let opening = tokio::task::spawn_blocking(move || open_log(disk()?, &limits));
    opening.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn open_directory(path: &Path) -> Result<Arc<dyn Disk>, OpenError> {
    match RealDisk::open(path) {
        Ok(disk) => Ok(Arc::new(disk)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(OpenError::InUse(path.to_owned())),
        Err(source) => Err(OpenError::Io { attempt: "open", path: path.display().to_string(), source }),
    }
}

fn open_log(disk: Arc<dyn Disk>, limits: &Limits) -> Result<(Opened, Host), OpenError> {
    let host = if disk.blocks() { Host::Thread } else { Host::Task };
    Ok((Log::open(disk, limits.segment_bytes, &limits.history)?, host))
}

impl Backend for Embedded {
    fn load(&self) -> BoxFuture<'_, Result<Loaded, OpenError>> {
        Box::pin(self.load())
    }

    fn follow(&self, feed: Feed) {
        let (log, host) = lock(&self.loaded).take().expect("a backend is loaded, then followed, once each");
        let first = self.shared.feed.set(feed.clone()).is_ok();
        assert!(first, "a backend is followed once");
        let committer = Committer::new(self.shared.clone(), feed, log);
        match host {
            Host::Task => drop(tokio::spawn(committer.run())),
            Host::Thread => committer.run_on_thread(),
        }
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
        if draft.json.len() > self.limits.object_bytes || !log::fits(&key) {
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

    /// Fails what is under way and all that will come.
    fn fail(&self, failure: io::Error) -> Arc<io::Error> {
        let failure = Arc::new(failure);
        let feed = self.feed.get().expect("set before there is a committer");
        self.queue().fail(&failure, feed.state());
        self.stats().failure = Some(failure.to_string());
        feed.fail(failure.clone());
        failure
    }

    fn stop(&self) {
        self.queue().closing = true;
        self.bell.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    fn stats(&self) -> MutexGuard<'_, BackendStats> {
        lock(&self.stats)
    }
}

/// Every critical section here is short and leaves things whole: a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Action {
    fn draft(&self) -> &crate::Draft {
        match self {
            Action::Create(draft) | Action::Update { draft, .. } | Action::Delete { last: draft, .. } => draft,
        }
    }
}
